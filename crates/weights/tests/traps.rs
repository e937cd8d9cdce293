//! Files that are not what they should be. Each is refused in one line that says why and what to do, or read for what it
//! is; none is run.

mod made;

use made::*;

/// A file, and what is said of it.
type Trap = (&'static str, Vec<u8>, &'static [&'static str]);

fn refused(traps: Vec<Trap>) {
    for (what, bytes, parts) in traps {
        let Err(error) = listing(&bytes) else { panic!("{what}: it opens") };
        let message = error.to_string();
        assert!(message.starts_with("a.file: ") && !message.contains('\n'), "{what}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{what}: {message}");
    }
}

/// A file's first half.
fn half(name: &str) -> Vec<u8> {
    let bytes = golden(name);
    bytes[..bytes.len() / 2].to_vec()
}

/// A file with some of its bytes changed.
fn changed(mut bytes: Vec<u8>, at: usize, to: &[u8]) -> Vec<u8> {
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn what_is_no_file_of_weights_is_called_what_it_is() {
    let npz = zip(&[("a.npy", b"\x93NUMPY".to_vec())]);
    let keras = zip(&[("config.json", b"{}".to_vec()), ("model.weights.h5", vec![0; 9])]);
    let wrapped = zip(&[("model/v1-5.ckpt", vec![0; 9])]);
    refused(vec![
        ("empty", vec![], &["not a file of weights", "empty", "download it again"]),
        (
            "pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
            &["git lfs pull"],
        ),
        ("page", b"<!DOCTYPE html><html>".to_vec(), &["web page", "login"]),
        ("page after blanks", b"\r\n  <html>".to_vec(), &["web page"]),
        ("answer", br#"{"error":"Repository not found"}"#.to_vec(), &["JSON"]),
        ("words", b"Invalid username or password.".to_vec(), &["text", "Invalid username or password."]),
        ("zeros", vec![0; 5000], &["zeros", "download it again"]),
        ("picture", b"\x89PNG\r\n\x1a\n____".to_vec(), &["picture"]),
        ("gzip", b"\x1f\x8b\x08\0____".to_vec(), &["gzip", "unpack"]),
        ("7z", b"7z\xbc\xaf\x27\x1c__".to_vec(), &["7z"]),
        ("rar", b"Rar!\x1a\x07\0_".to_vec(), &["RAR"]),
        ("array", b"\x93NUMPY\x01\0v\0{'descr': '<f4'}".to_vec(), &["NumPy"]),
        ("arrays", npz, &["NumPy", ".npz"]),
        ("keras", keras, &[".keras", "model.weights.h5"]),
        ("wrapped", wrapped, &["weights in it", "unpack"]),
        ("empty archive", zip(&[]), &["zip archive", "data.pkl"]),
        ("ggml", b"lmgg\x01\0\0\0____".to_vec(), &["before GGUF"]),
        ("onnx", b"\x08\x07\x12\x07pytorch".to_vec(), &["ONNX"]),
        ("pickle", b"\x80\x04}\x94\x8c\x01a.".to_vec(), &["Python pickle", "none of PyTorch's"]),
        ("noise", (0..200u8).map(|i| i.wrapping_mul(97) | 0x81).collect(), &["no format"]),
    ]);
}

#[test]
fn what_was_cut_short_is_said_to_be() {
    let torch = golden("state.bin");
    refused(vec![
        (
            "safetensors",
            safetensors(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4),
            &["truncated"],
        ),
        ("zip", half("state.bin"), &["download stopped too early", "download it again"]),
        ("zip, the last byte", torch[..torch.len() - 1].to_vec(), &["truncated"]),
        ("legacy", half("legacy.pth"), &["truncated"]),
        (
            "legacy, the last byte",
            {
                let b = golden("legacy.pth");
                b[..b.len() - 1].to_vec()
            },
            &["truncated"],
        ),
        ("tar", half("oldest.pt"), &["truncated"]),
        ("GGUF", half("blocks.gguf"), &["truncated", "download it again"]),
        ("GGUF, its header", golden("blocks.gguf")[..200].to_vec(), &["truncated"]),
        ("HDF5", half("early.h5"), &["truncated"]),
        ("HDF5, new", half("latest.h5"), &["truncated"]),
    ]);
}

#[test]
fn a_pickle_runs_nothing_and_what_it_wanted_to_run_is_named() {
    let weights = tensor("0", 4, 0, &[4], &[1]);
    let call = |module: &str, name: &str| {
        let harm = call(global(module, name), &[text("touch x")]);
        made::torch(&dict(&[("w", weights.clone()), ("x", harm)]), vec![0; 16])
    };
    let by_stack =
        [text("posix"), text("system"), b"\x93".to_vec(), tuple(&[text("id")]), b"R".to_vec()].concat();
    refused(vec![
        ("os", call("os", "system"), &["os.system", "not run here"]),
        ("nt", call("nt", "system"), &["nt.system"]),
        ("subprocess", call("subprocess", "Popen"), &["subprocess.Popen"]),
        ("eval", call("builtins", "eval"), &["builtins.eval"]),
        ("Python 2", call("__builtin__", "exec"), &["__builtin__.exec"]),
        ("stack", made::torch(&by_stack, vec![]), &["posix.system"]),
        ("torch's own", call("torch.hub", "load"), &["torch.hub.load"]),
        ("torch's loader", call("torch", "load"), &["torch.load"]),
        ("NumPy's", call("numpy.testing._private.utils", "runstring"), &["numpy.testing"]),
        ("attribute", call("torch", "ops.x"), &["torch.ops.x"]),
        ("lookalike", call("torchx", "y"), &["torchx.y"]),
        ("newline", call("a\x1b[31m", "b"), &["\\u{1b}"]),
    ]);
}

#[test]
fn pickles_that_break_the_rules_are_refused() {
    let torch = |pickle: &[u8]| made::torch(pickle, vec![0; 16]);
    let named = |tensor| torch(&dict(&[("w", tensor)]));
    let deep = [dict(&[("", vec![])])[..2].to_vec(), vec![]].concat();
    assert_eq!(deep, b"}(");
    // Lists in lists, a tensor at the bottom.
    let nested = [vec![b']'; 5000], tensor("0", 4, 0, &[4], &[1]), vec![b'a'; 5000]].concat();
    // Dictionaries in dictionaries, a few of which each key of the outermost adds to those before it.
    let (mut keys, mut inner) = (Vec::new(), tensor("0", 4, 0, &[4], &[1]));
    for key in 100..140 {
        let value = (0..60).fold(inner, |value, _| dict(&[("_modules", value)]));
        keys.push((format!("k{key}"), [value, vec![b'q', key]].concat()));
        inner = vec![b'h', key];
    }
    keys.push(("state_dict".into(), inner));
    let by_steps: Vec<(&str, Vec<u8>)> = keys.iter().map(|(key, value)| (&**key, value.clone())).collect();
    let endless = dict(&[(&"k".repeat(5000), tensor("0", 4, 0, &[4], &[1]))]);
    let sparse = b"i__main__\nX\n".to_vec();
    refused(vec![
        ("instruction", torch(&sparse), &["instruction 0x69"]),
        ("memo", torch(b"h\x07"), &["value 7"]),
        ("stack", torch(b"a"), &["more values than it made"]),
        ("mark", torch(b"t"), &["more values than it made"]),
        ("below the mark", torch(b"]N(a"), &["more values than it made"]),
        ("items of nothing", torch(b"NNNs"), &["no dictionary"]),
        ("a key alone", torch(b"}(Nu"), &["key without a value"]),
        ("long text", torch(b"X\xff\xff\xff\x7f"), &["truncated"]),
        ("long number", torch(b"\x8b\xff\xff\xff\xff"), &["truncated"]),
        ("no end", zip(&[("a/data.pkl", b"\x80\x02}".to_vec())]), &["truncated"]),
        ("depth", named(nested), &["nested"]),
        ("depth by steps", torch(&dict(&by_steps)), &["nested"]),
        ("name", torch(&endless), &["endless"]),
        ("beyond", named(tensor("0", 4, 2, &[3], &[1])), &["w reaches beyond its storage 0"]),
        ("strides", named(tensor("0", 4, 0, &[2, 2], &[3, 1])), &["beyond its storage"]),
        ("wide strides", named(tensor("0", 4, 0, &[2], &[i64::MAX])), &["beyond its storage"]),
        ("overflow", named(tensor("0", 4, 0, &[1 << 40, 1 << 40], &[0, 0])), &["w has shape", "overflows"]),
        ("repeated", named(tensor("0", 4, 0, &[1 << 40], &[0])), &["more than the whole file"]),
        ("negative", named(tensor("0", 4, 0, &[-1], &[1])), &["something else than torch"]),
        ("no storage", named(tensor("7", 4, 0, &[4], &[1])), &["no member archive/data/7"]),
        ("short storage", named(tensor("0", 400, 0, &[4], &[1])), &["has 16 bytes", "1600"]),
    ]);
}

#[test]
fn archives_that_lie_are_refused() {
    let sound = made::torch(&dict(&[("w", tensor("0", 4, 0, &[4], &[1]))]), vec![0; 16]);
    assert_eq!(listing(&sound).unwrap().tensors.len(), 1);
    let end = sound.len() - 22;
    let pickle = [b"\x80\x02", &dict(&[("w", tensor("0", 4, 0, &[4], &[1]))])[..], b"."].concat();
    let squeezed = |size, method| zip_packed(&[("a/data.pkl", method, size, vec![0x4b, 0x04, 0x00])]);
    let packed =
        zip_packed(&[("a/data.pkl", 0, pickle.len(), pickle.clone()), ("a/data/0", 8, 16, vec![0; 9])]);
    let order = zip(&[("a/data.pkl", pickle.clone()), ("a/byteorder", b"mixed".to_vec())]);
    let member = sound.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    refused(vec![
        ("members", changed(sound.clone(), end + 10, &[0xff; 2]), &["cannot hold 65535 members"]),
        ("place", changed(sound.clone(), end + 16, &[0xfe; 4]), &["truncated"]),
        ("directory", changed(sound.clone(), member, b"XX"), &["directory is damaged"]),
        ("header", changed(sound.clone(), 0, b"PK\x05\x06"), &["not where its directory says"]),
        ("encrypted", changed(sound.clone(), member + 8, &[1]), &["encrypted"]),
        ("compressed", packed, &["a/data/0 is compressed", "zip -0"]),
        ("bomb", squeezed(1 << 30, 8), &["longer than any of weights"]),
        ("broken", squeezed(100, 8), &["cannot be unpacked"]),
        ("method", squeezed(3, 93), &["method 93"]),
        ("byte order", order, &["byteorder"]),
    ]);
}

#[test]
fn a_pickle_whose_lists_hold_each_other_is_gone_through_once() {
    // Forty lists, each of which holds the one before twice: a million million paths to the tensor.
    let mut pickle = [b"]".to_vec(), tensor("0", 4, 0, &[4], &[1]), b"aq\0".to_vec()].concat();
    for i in 0..25u8 {
        pickle.extend([b']', b'(', b'h', i, b'h', i, b'e', b'q', i + 1]);
    }
    let found = listing(&made::torch(&pickle, vec![0; 16])).unwrap();
    assert_eq!(found.tensors.len(), 1);
    let first = vec!["0"; 26].join(".");
    assert_eq!(found.tensors[0].name, first);
}

#[test]
fn gguf_files_that_lie_are_refused() {
    let value = |key: &str, kind: u32, rest: &[u8]| {
        [gguf_text(key), kind.to_le_bytes().to_vec(), rest.to_vec()].concat()
    };
    let nested: Vec<u8> =
        (0..9).flat_map(|_| [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat()).collect();
    let many = [5u32.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
    let two = [gguf_tensor("w", &[2], 0, 0), gguf_tensor("w", &[2], 0, 32), vec![0; 200]].concat();
    let shape = [
        value(
            "comfy.gguf.orig_shape.w",
            9,
            &[5u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec(), 7i32.to_le_bytes().to_vec()].concat(),
        ),
        gguf_tensor("w", &[8], 0, 0),
        vec![0; 200],
    ]
    .concat();
    refused(vec![
        ("old", gguf(1, 0, 0, &[]), &["version 1"]),
        ("new", gguf(900, 0, 0, &[]), &["version 900"]),
        ("big-endian", gguf(3u32.swap_bytes(), 0, 0, &[]), &["big-endian"]),
        ("tensors", gguf(3, 1 << 40, 0, &[0; 99]), &["it speaks of"]),
        ("values", gguf(3, 0, -1, &[0; 99]), &["it speaks of"]),
        ("array", gguf(3, 0, 1, &value("a", 9, &many)), &["does not fit"]),
        (
            "arrays in arrays",
            gguf(3, 0, 1, &[value("a", 9, &nested), vec![0; 99]].concat()),
            &["array in an array"],
        ),
        ("kind", gguf(3, 0, 1, &value("a", 99, &[0; 99])), &["type 99"]),
        ("name", gguf(3, 0, 1, &[8u64.to_le_bytes().to_vec(), vec![0xff; 90]].concat()), &["not UTF-8"]),
        (
            "long name",
            gguf(3, 0, 1, &[u64::MAX.to_le_bytes().to_vec(), vec![b'a'; 90]].concat()),
            &["truncated"],
        ),
        ("axes", gguf_of(&[1; 5], 0, 0, 4), &["5 axes"]),
        ("overflow", gguf_of(&[u64::MAX, 2], 0, 0, 4), &["overflows"]),
        ("rows", gguf_of(&[33], 8, 0, 99), &["rows of 33", "blocks of 32"]),
        ("offset", gguf_of(&[2], 0, 1 << 40, 8), &["truncated"]),
        ("alignment", gguf(3, 0, 1, &value("general.alignment", 4, &3u32.to_le_bytes())), &["power of two"]),
        ("twice", gguf(3, 2, 0, &two), &["two tensors", "w"]),
        ("shape", gguf(3, 1, 1, &shape), &["orig_shape"]),
    ]);
}

#[test]
fn hdf5_files_that_lie_are_refused() {
    let old = golden("pieces.h5");
    refused(vec![
        ("version", changed(old.clone(), 8, &[9]), &["superblock's version is 9"]),
        ("widths", changed(old.clone(), 13, &[3]), &["superblock is damaged"]),
        ("root", changed(old.clone(), 64, &[0xf0, 0xff, 0xff]), &["truncated"]),
        ("root's header", changed(old.clone(), 96, &[7]), &["header is damaged"]),
    ]);
}

#[test]
fn what_cannot_be_lent_is_listed_and_the_rest_opens() {
    let sparse = call(global("torch._utils", "_rebuild_sparse_tensor"), &[text("x")]);
    let file = torch(&dict(&[("w", tensor("0", 4, 0, &[4], &[1])), ("s", sparse)]), vec![0; 16]);
    let found = listing(&file).unwrap();
    let names: Vec<_> = found.tensors.iter().map(|t| (&t.name[..], t.encoding.name())).collect();
    assert_eq!(names, [("s", "a sparse tensor"), ("w", "f32")]);

    let found = listing(&gguf_of(&[256], 16, 0, 0)).unwrap();
    assert_eq!((found.tensors[0].encoding.name(), found.tensors[0].encoding.lent()), ("iq2_xxs", None));
}

#[test]
fn a_file_is_what_its_bytes_say_and_not_its_name() {
    for (name, format) in
        [("state.bin", "PyTorch pickle (zip)"), ("bare.gguf", "GGUF"), ("behind.h5", "HDF5")]
    {
        // Whatever it is called: `listing` calls all of them a.file.
        assert_eq!(listing(&golden(name)).unwrap().format.to_string(), format);
    }
}
