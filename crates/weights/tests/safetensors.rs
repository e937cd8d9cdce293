//! Real files in temporary folders: what opens, and what each kind of damage is called.

use calotype_tensor::DType;
use calotype_tensor::Error::BadRange;
use calotype_weights::{Checkpoint, DiskFolder, Error, Tensors};
use pollster::block_on;
use safetensors::{Dtype, serialize, tensor::TensorView};
use std::{fs, path::Path};

/// A file with the given tensors, each of ascending bytes.
fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let sized = tensors.iter().map(|(name, dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (*name, *dtype, shape.to_vec(), (0..bytes).map(|i| i as u8).collect::<Vec<_>>())
    });
    let sized: Vec<_> = sized.collect();
    let views = sized.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    serialize(views, None).expect("serialisable")
}

/// A file with a handwritten header.
fn with_header(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

fn open(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    Checkpoint::open(path)
}

/// The message of the error that opening `bytes` gives: one line that names the file.
fn refusal(bytes: &[u8]) -> String {
    let message = open(bytes).err().expect("an error").to_string();
    assert!(message.contains("model.safetensors: ") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn tensors_are_lent_by_path() {
    let bytes = file(&[("a", Dtype::F32, &[2, 3]), ("b.weight", Dtype::F16, &[4]), ("c", Dtype::BF16, &[])]);
    let source = open(&bytes).unwrap();
    assert_eq!(source.names(), ["a", "b.weight", "c"]);
    let info = source.get("a").unwrap();
    assert_eq!((info.dtype, &info.shape[..], info.numel(), info.bytes()), (DType::F32, &[2, 3][..], 6, 24));
    assert_eq!(source.get("c").unwrap().bytes(), 2);

    let all = block_on(source.read_all("b.weight")).unwrap();
    assert_eq!(*all, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(matches!(all, std::borrow::Cow::Borrowed(_)));
    source.release("b.weight");
    assert_eq!(*block_on(source.read("b.weight", 1..3)).unwrap(), [2, 3, 4, 5]);
    for range in [(0, 5), (5, 5), (2, 1)] {
        assert!(matches!(block_on(source.read("b.weight", range.0..range.1)), Err(BadRange { .. })));
    }
}

#[test]
fn a_missing_tensor_and_a_foreign_type_are_named() {
    let bytes = file(&[("conv.weight", Dtype::F16, &[4, 2]), ("fourier", Dtype::C64, &[1, 3])]);
    let source = open(&bytes).unwrap();
    let error = source.get("conv.bias").unwrap_err().to_string();
    assert!(error.contains("no tensor conv.bias") && error.contains("conv.weight"), "{error}");
    // What no model here reads is no reason to refuse the file, and yet is there.
    assert_eq!(source.names(), ["conv.weight", "fourier"]);
    let error = source.get("fourier").unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors: tensor fourier holds c64") && error.contains("f16"),
        "{error}"
    );
    assert_eq!(block_on(source.read_all("fourier")).unwrap_err().to_string(), error);
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let bytes = file(&[("a", Dtype::F32, &[5]), ("b", Dtype::F16, &[3, 3])]);
    for len in 0..bytes.len() {
        let message = refusal(&bytes[..len]);
        if len > 0 {
            assert!(
                message.contains("truncated") && message.contains(&format!("has {len};")),
                "{len}: {message}"
            );
        }
    }
    assert!(refusal(b"").contains("empty"));
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(refusal(&longer).contains("accounts for"));
    assert!(open(&bytes).is_ok());
}

#[test]
fn a_header_with_any_byte_changed_never_panics() {
    let bytes = file(&[("a", Dtype::F32, &[5]), ("b", Dtype::F16, &[3, 3])]);
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    for at in 0..header {
        for change in [0x01, 0x80, 0x10, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            if let Ok(source) = open(&damaged) {
                for name in source.names() {
                    block_on(source.read_all(name)).unwrap();
                }
            }
        }
    }
}

#[test]
fn offsets_that_overlap_or_lie_outside_are_refused() {
    let tensor = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let header = |tensors: &[String]| format!("{{{}}}", tensors.join(","));
    let overlapping = header(&[tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12)]);
    assert!(refusal(&with_header(&overlapping, 12)).contains("invalid offset for tensor `b`"));
    let outside = header(&[tensor("a", "[2]", 0, 8)]);
    assert!(refusal(&with_header(&outside, 4)).contains("truncated"));
    let backwards = header(&[tensor("a", "[2]", 8, 0)]);
    assert!(refusal(&with_header(&backwards, 8)).contains("damaged"));
    let wrong_size = header(&[tensor("a", "[3]", 0, 8)]);
    assert!(refusal(&with_header(&wrong_size, 8)).contains("damaged"));
    let huge = header(&[tensor("a", "[4294967296, 4294967296]", 0, 8)]);
    assert!(refusal(&with_header(&huge, 8)).contains("overflow"));
    assert!(refusal(&with_header(r#"{"a": 3}"#, 0)).contains("damaged"));
    let later = header(&[tensor("a", "[2]", 0, 8), tensor("b", "[2]", 8, 12).replace("F32", "F3")]);
    let error = refusal(&with_header(&later, 12));
    assert!(error.contains("tensor b holds F3") && error.contains("save the file in"), "{error}");
    assert!(refusal(&with_header("{not json", 0)).contains("damaged"));
}

#[test]
fn other_files_are_recognised() {
    assert!(refusal(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n").contains("git lfs pull"));
    assert!(refusal(b"<!DOCTYPE html><html>").contains("web page"));
    assert!(refusal(b"PK\x03\x04 and so on").contains("download it again"));
    assert!(refusal(&[7; 64]).contains("not a file of weights"));
    let error = Checkpoint::open("no/such/model.safetensors").err().unwrap();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("no/such/model.safetensors"));
}

fn write_index(folder: &Path, map: &str) {
    fs::write(folder.join("model.safetensors.index.json"), format!(r#"{{"weight_map": {map}}}"#)).unwrap();
}

fn sharded(folder: &Path) -> Result<Checkpoint, Error> {
    let found = block_on(Checkpoint::within(&DiskFolder::new(folder), "model.safetensors.index.json"));
    found.map(|checkpoint| checkpoint.expect("the index is there"))
}

#[test]
fn shards_are_one_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    fs::write(dir.join(one), file(&[("a", Dtype::F16, &[2])])).unwrap();
    fs::write(dir.join(two), file(&[("b", Dtype::F32, &[1]), ("unlisted", Dtype::F32, &[1])])).unwrap();
    write_index(dir, &format!(r#"{{"a": "{one}", "b": "{two}"}}"#));
    let source = sharded(dir).unwrap();
    assert_eq!(source.names(), ["a", "b", "unlisted"]);
    assert_eq!(*block_on(source.read_all("b")).unwrap(), [0, 1, 2, 3]);
    assert!(source.describe("b").ends_with(two) && source.describe("c").ends_with("index.json"));

    write_index(dir, &format!(r#"{{"a": "{one}", "c": "{two}"}}"#));
    let error = sharded(dir).err().unwrap().to_string();
    assert!(error.contains(&format!("tensor c should be in {two}")), "{error}");

    write_index(dir, r#"{"a": "gone.safetensors"}"#);
    let error = sharded(dir).err().unwrap().to_string();
    assert!(error.contains("gone.safetensors is missing"), "{error}");

    for map in [r#"{"a": "../x.safetensors"}"#, r#"{"a": ""}"#, "[1]"] {
        write_index(dir, map);
        assert!(matches!(sharded(dir), Err(Error::BadIndex { .. })), "{map}");
    }
}
