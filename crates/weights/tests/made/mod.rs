//! Files made by hand, byte by byte: pickles, archives, GGUF headers.
#![allow(dead_code, reason = "each test takes some of it")]

use calotype_weights::Error;
use calotype_weights::files::{Header, list};
use pollster::block_on;
use std::borrow::Cow;
use std::path::PathBuf;

/// Where the goldens are.
pub fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens")
}

/// A file that another library wrote.
pub fn golden(name: &str) -> Vec<u8> {
    std::fs::read(goldens().join("files").join(name)).unwrap()
}

/// What a file is found to hold.
pub fn listing(bytes: &[u8]) -> Result<Header, Error> {
    block_on(list("a.file", &Cow::<'static, [u8]>::Owned(bytes.to_vec())))
}

/// The least that a safetensors file is.
pub fn safetensors(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &vec![0; data]].concat()
}

/// Members of an archive, stored as they are: name and bytes.
pub fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let packed: Vec<_> = members.iter().map(|(name, data)| (*name, 0, data.len(), data.clone())).collect();
    zip_packed(&packed)
}

/// Members of an archive: name, method, size once unpacked, and bytes as they are in it.
pub fn zip_packed(members: &[(&str, u16, usize, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, method, size, data) in members {
        let at = file.len() as u32;
        // Method, time, date, sum, sizes, and the lengths of what follows.
        let mut common = method.to_le_bytes().to_vec();
        common.extend([0; 8]);
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((*size as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        file.extend([b"PK\x03\x04\x14\0\0\0", &common[..], name.as_bytes(), data].concat());
        directory.extend(
            [b"PK\x01\x02\x14\0\x14\0\0\0", &common[..], &[0; 10], &at.to_le_bytes(), name.as_bytes()]
                .concat(),
        );
    }
    let (count, len, at) = (members.len() as u16, directory.len() as u32, file.len() as u32);
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count.to_le_bytes()[..], &count.to_le_bytes()].concat());
    file.extend([&len.to_le_bytes()[..], &at.to_le_bytes(), &[0, 0]].concat());
    file
}

/// A file as torch zips it: the pickle's instructions, and the numbers of storage 0.
pub fn torch(pickle: &[u8], storage: Vec<u8>) -> Vec<u8> {
    zip(&[
        ("archive/data.pkl", [b"\x80\x02", pickle, b"."].concat()),
        ("archive/byteorder", b"little".to_vec()),
        ("archive/data/0", storage),
    ])
}

/// Instructions that make a text.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Instructions that make a whole number.
pub fn int(n: i64) -> Vec<u8> {
    [b"\x8a\x08", &n.to_le_bytes()[..]].concat()
}

/// Instructions that make a tuple.
pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

/// Instructions that make a dictionary.
pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", &items[..], b"u"].concat()
}

/// Instructions that name a class or a function.
pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// Instructions that call something.
pub fn call(what: Vec<u8>, args: &[Vec<u8>]) -> Vec<u8> {
    [what, tuple(args), b"R".to_vec()].concat()
}

/// Instructions that make an f32 tensor of a storage of `count` elements.
pub fn tensor(key: &str, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    stored("FloatStorage", key, count, offset, shape, strides)
}

/// The same of all of an f16 storage.
pub fn half_tensor(key: &str, count: i64) -> Vec<u8> {
    stored("HalfStorage", key, count, 0, &[count], &[1])
}

/// The same of a storage of any class.
pub fn stored(class: &str, key: &str, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let place = tuple(&[text("storage"), global("torch", class), text(key), text("cpu"), int(count)]);
    let list = |numbers: &[i64]| tuple(&numbers.iter().map(|&n| int(n)).collect::<Vec<_>>());
    let storage = [place, b"Q".to_vec()].concat();
    let args = [storage, int(offset), list(shape), list(strides), b"\x89".to_vec(), b"N".to_vec()];
    call(global("torch._utils", "_rebuild_tensor_v2"), &args)
}

/// A GGUF file's beginning: version, tensors, values.
pub fn gguf(version: u32, tensors: i64, values: i64, rest: &[u8]) -> Vec<u8> {
    let head = [b"GGUF", &version.to_le_bytes()[..], &tensors.to_le_bytes(), &values.to_le_bytes()].concat();
    [head, rest.to_vec()].concat()
}

/// A name in GGUF.
pub fn gguf_text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A tensor's description in GGUF; axes as there, the innermost first.
pub fn gguf_tensor(name: &str, axes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = gguf_text(name);
    out.extend((axes.len() as u32).to_le_bytes());
    out.extend(axes.iter().flat_map(|axis| axis.to_le_bytes()));
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

/// A GGUF file of one tensor and so many bytes behind its description.
pub fn gguf_of(axes: &[u64], kind: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut file = gguf(3, 1, 0, &gguf_tensor("w", axes, kind, offset));
    file.resize(file.len().next_multiple_of(32) + data, 0);
    file
}
