//! Files of every format hold the numbers that their own libraries read of them (`tests/goldens/files.py`).

mod made;

use calotype_tensor::{HostTensor, LocalFuture};
use calotype_weights::files::{Header, list};
use calotype_weights::{Bytes, Checkpoint, Tensors};
use made::{golden, goldens};
use pollster::block_on;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// A file of which only what is asked for is there.
struct Far {
    bytes: Vec<u8>,
    fetched: Cell<u64>,
}

impl Bytes for Far {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>> {
        self.fetched.set(self.fetched.get() + range.end - range.start);
        let part = self.bytes[range.start as usize..range.end as usize].to_vec();
        Box::pin(std::future::ready(Ok(part.into())))
    }
}

fn far(bytes: Vec<u8>) -> Rc<Far> {
    Rc::new(Far { bytes, fetched: Cell::new(0) })
}

fn manifest() -> Vec<Json> {
    serde_json::from_slice(&std::fs::read(goldens().join("files.json")).unwrap()).unwrap()
}

fn texts(json: &Json) -> Vec<&str> {
    json.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// Some of a tensor's numbers.
fn floats(source: &Checkpoint, name: &str, range: Range<usize>) -> Vec<f32> {
    let bytes = block_on(source.read(name, range.clone())).unwrap().into_owned();
    HostTensor::from_bytes([range.len()], source.get(name).unwrap().dtype, bytes).to_f32()
}

#[test]
fn numbers_are_those_of_the_formats_own_libraries() {
    let expected = Checkpoint::open(goldens().join("files.safetensors")).unwrap();
    let files = manifest();
    assert!(files.len() > 20);
    let mut compared = 0;
    for file in &files {
        let name = file["file"].as_str().unwrap();
        let source = Checkpoint::in_memory(name, golden(name)).unwrap();
        let unread = texts(&file["unread"]);
        assert_eq!(source.names(), texts(&file["tensors"]), "{name}");
        for (key, value) in file["metadata"].as_object().unwrap() {
            assert_eq!(source.metadata(key), value.as_str(), "{name}: {key}");
        }
        for tensor in source.names() {
            let place = format!("{name}/{tensor}");
            if unread.contains(&tensor) {
                let error = source.get(tensor).unwrap_err().to_string();
                assert!(error.contains(tensor) && error.contains("is not read"), "{error}");
                continue;
            }
            let (info, theirs) = (source.get(tensor).unwrap(), expected.get(&place).unwrap());
            assert_eq!(info.shape, theirs.shape, "{place}");
            let (all, theirs) =
                (floats(&source, tensor, 0..info.numel()), floats(&expected, &place, 0..info.numel()));
            equal(&place, &all, &theirs);
            parts(&source, tensor, &all);
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared} tensors");
}

fn equal(place: &str, ours: &[f32], theirs: &[f32]) {
    let same = |(a, b): &(&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let first = ours.iter().zip(theirs).find(|pair| !same(pair));
    assert!(first.is_none() && ours.len() == theirs.len(), "{place}: {first:?}");
}

/// Part of a tensor is part of its numbers, wherever it begins and ends.
fn parts(source: &Checkpoint, tensor: &str, all: &[f32]) {
    let [block, _] = source.get(tensor).unwrap().encoding.block();
    let blocks = all.len() / block;
    for (from, to) in [(0, 1), (blocks / 3, blocks / 2), (blocks / 2, blocks), (blocks, blocks)] {
        let range = (from * block).min(all.len())..(to * block).min(all.len());
        equal(tensor, &floats(source, tensor, range.clone()), &all[range]);
    }
}

#[test]
fn a_file_far_away_is_read_alike_and_not_whole() {
    for file in manifest() {
        let name = file["file"].as_str().unwrap();
        let bytes = golden(name);
        let near: Cow<'static, [u8]> = bytes.clone().into();
        assert_eq!(block_on(list(name, &near)).unwrap(), block_on(list(name, &*far(bytes))).unwrap());
    }
    // As much behind its header as no header takes.
    let mut bytes = made::gguf_of(&[1 << 20], 0, 0, 4 << 20);
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&7f32.to_le_bytes());
    let file = far(bytes);
    let source = block_on(Checkpoint::read("far", file.clone())).unwrap();
    assert!(file.fetched.get() < 1 << 20, "{} bytes were fetched to open it", file.fetched.get());
    assert_eq!(floats(&source, "w", (1 << 20) - 1..1 << 20), [7.0]);
    assert!(file.fetched.get() < 1 << 20);
}

#[test]
fn what_lies_behind_a_file_is_no_part_of_its_tensors() {
    let Header { tensors, .. } = made::listing(&golden("blocks.gguf")).unwrap();
    let size = golden("blocks.gguf").len() as u64;
    assert!(tensors.iter().all(|entry| entry.range.end <= size && !entry.range.is_empty()));
}
