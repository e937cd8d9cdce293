//! GGUF, as llama.cpp, stable-diffusion.cpp and ComfyUI-GGUF write it.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; types: ggml's `include/ggml.h`.

use super::view::{Cursor, Parsed, View, damaged, foreign, quote};
#[cfg(not(target_arch = "wasm32"))]
use crate::files::entry::Extent;
use crate::files::entry::size;
use crate::files::{Entry, Format, Header};
use calotype_tensor::Encoding;
use std::collections::BTreeMap;

/// What the file begins with.
const MAGIC_BYTES: u64 = 4;
/// What is written.
#[cfg(not(target_arch = "wasm32"))]
const VERSION: u32 = 3;
/// Where tensors begin, unless the file says otherwise.
pub const ALIGNMENT: u64 = 32;
/// The most axes of a tensor (`GGML_MAX_DIMS`).
pub const MOST_AXES: u32 = 4;
/// Arrays in arrays end here.
const DEEPEST: u32 = 4;
/// Of an array as many values are told.
const TOLD: u64 = 8;
/// More tensors, or more values, no file has.
const MOST: u64 = 1 << 24;
/// Under this name and the tensor's, ComfyUI-GGUF keeps the shape of a tensor that it reshaped.
const SHAPE_KEY: &str = "comfy.gguf.orig_shape.";

/// Reads what a file says of itself; no numbers are looked at.
pub(super) fn parse(file: View<'_>) -> Parsed<Header> {
    let mut at = file.cursor(MAGIC_BYTES);
    match at.u32()? {
        2 | 3 => {}
        1 => return foreign("version 1, which llama.cpp too gave up in 2023: make the file anew"),
        other if (1..=3).contains(&other.swap_bytes()) => return foreign("its numbers are big-endian"),
        other => return foreign(format!("version {other}, which is newer than this program")),
    }
    let (tensors, pairs) = (at.u64()?, at.u64()?);
    if tensors.max(pairs) > MOST {
        return damaged(format!("it speaks of {tensors} tensors and {pairs} values"));
    }
    let mut metadata = BTreeMap::new();
    let mut shapes = BTreeMap::new();
    let mut alignment = ALIGNMENT;
    for _ in 0..pairs {
        let key = text(&mut at)?;
        let kind = at.u32()?;
        if let Some(name) = key.strip_prefix(SHAPE_KEY) {
            shapes.insert(name.to_owned(), integers(&mut at, kind)?);
            continue;
        }
        let value = value(&mut at, kind, 0)?;
        if key == "general.alignment" {
            alignment = value.parse().unwrap_or(0);
        }
        metadata.insert(key, value);
    }
    if !alignment.is_power_of_two() {
        return damaged("its general.alignment is no power of two");
    }
    let mut infos = Vec::new();
    for _ in 0..tensors {
        infos.push(info(&mut at)?);
    }
    let start = at.at.next_multiple_of(alignment);
    let tensors = infos.into_iter().map(|info| info.entry(start, &shapes, file)).collect::<Parsed<_>>()?;
    Ok(Header { format: Format::Gguf, tensors, metadata })
}

/// A tensor's description.
struct Info {
    name: String,
    /// Outermost first.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

fn info(at: &mut Cursor<'_>) -> Parsed<Info> {
    let name = text(at)?;
    let axes = at.u32()?;
    if axes > MOST_AXES {
        return damaged(format!(
            "tensor {} has {axes} axes, and at most {MOST_AXES} are allowed",
            quote(&name)
        ));
    }
    // The file has the innermost first.
    let mut shape = Vec::new();
    for _ in 0..axes {
        shape.insert(0, usize::try_from(at.u64()?).unwrap_or(usize::MAX));
    }
    Ok(Info { name, shape, kind: at.u32()?, offset: at.u64()? })
}

impl Info {
    fn entry(self, start: u64, shapes: &BTreeMap<String, Vec<usize>>, file: View<'_>) -> Parsed<Entry> {
        let Self { name, mut shape, kind, offset } = self;
        let encoding = encoding(kind);
        let told = quote(&name);
        let Some((numel, bytes)) = size(encoding, &shape) else {
            return damaged(format!("tensor {told} has shape {shape:?}, which overflows"));
        };
        let (row, [block, _]) = (shape.last().copied().unwrap_or(1), encoding.block());
        if !row.is_multiple_of(block) {
            return damaged(format!(
                "tensor {told} has rows of {row} elements, and {encoding} has blocks of {block}"
            ));
        }
        if let Some(original) = shapes.get(&name) {
            if size(encoding, original).map(|(numel, _)| numel) != Some(numel) {
                return damaged(format!(
                    "tensor {told} has shape {shape:?}, and {SHAPE_KEY} says {original:?}"
                ));
            }
            shape = original.clone();
        }
        let from = start.saturating_add(offset);
        // The size of what is not read is not known, either: it is nothing here.
        file.check(from, bytes)?;
        Ok(Entry::dense(name, encoding, shape, from..from + bytes))
    }
}

/// ggml's numbers for types.
const TYPES: [(u32, Encoding); 18] = [
    (0, Encoding::F32),
    (1, Encoding::F16),
    (2, Encoding::Q4_0),
    (3, Encoding::Q4_1),
    (6, Encoding::Q5_0),
    (7, Encoding::Q5_1),
    (8, Encoding::Q8_0),
    (10, Encoding::Q2K),
    (11, Encoding::Q3K),
    (12, Encoding::Q4K),
    (13, Encoding::Q5K),
    (14, Encoding::Q6K),
    (24, Encoding::I8),
    (25, Encoding::I16),
    (26, Encoding::I32),
    (27, Encoding::I64),
    (28, Encoding::F64),
    (30, Encoding::BF16),
];

fn encoding(kind: u32) -> Encoding {
    let found = TYPES.iter().find(|(number, _)| *number == kind);
    found.map_or_else(|| Encoding::Unknown(unread(kind)), |(_, encoding)| *encoding)
}

/// ggml's number for a type; none for one that it has not.
#[cfg(not(target_arch = "wasm32"))]
pub fn number(encoding: Encoding) -> Option<u32> {
    TYPES.iter().find(|(_, one)| *one == encoding).map(|(number, _)| *number)
}

/// What a file begins with that holds these tensors, in their order, each at a multiple of [`ALIGNMENT`].
#[cfg(not(target_arch = "wasm32"))]
pub fn header(tensors: &[Extent<'_>], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    // In the order of ggml's types of values: 4 is u32, 8 a text.
    let blocks = tensors.iter().any(|tensor| tensor.encoding.block()[0] > 1);
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64 + u64::from(blocks)).to_le_bytes());
    for (key, value) in metadata {
        text(&mut out, key);
        out.extend(8u32.to_le_bytes());
        text(&mut out, value);
    }
    if blocks {
        text(&mut out, "general.quantization_version");
        out.extend([4u32, 2].iter().flat_map(|n| n.to_le_bytes()));
    }
    let mut offset = 0u64;
    for Extent { name, encoding, shape, bytes } in tensors {
        text(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        out.extend(shape.iter().rev().flat_map(|&axis| (axis as u64).to_le_bytes()));
        out.extend(number(*encoding).unwrap_or_default().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (*bytes as u64).next_multiple_of(ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
    out
}

/// Types whose numbers are not read, by ggml's names.
fn unread(kind: u32) -> &'static str {
    match kind {
        4 => "q4_2",
        5 => "q4_3",
        9 => "q8_1",
        15 => "q8_k",
        16 => "iq2_xxs",
        17 => "iq2_xs",
        18 => "iq3_xxs",
        19 => "iq1_s",
        20 => "iq4_nl",
        21 => "iq3_s",
        22 => "iq2_s",
        23 => "iq4_xs",
        29 => "iq1_m",
        34 => "tq1_0",
        35 => "tq2_0",
        39 => "mxfp4",
        40 => "nvfp4",
        _ => "a newer type of ggml's",
    }
}

fn text(at: &mut Cursor<'_>) -> Parsed<String> {
    let len = at.u64()?;
    let bytes = at.take(len)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => damaged("a name in it is not UTF-8"),
    }
}

/// A value as text; of an array its first values.
fn value(at: &mut Cursor<'_>, kind: u32, depth: u32) -> Parsed<String> {
    Ok(match kind {
        0 => at.u8()?.to_string(),
        1 => (at.u8()? as i8).to_string(),
        2 => at.u16()?.to_string(),
        3 => (at.u16()? as i16).to_string(),
        4 => at.u32()?.to_string(),
        5 => at.i32()?.to_string(),
        6 => f32::from_le_bytes(at.array()?).to_string(),
        7 => (at.u8()? != 0).to_string(),
        8 => text(at)?,
        9 if depth < DEEPEST => array(at, depth)?,
        9 => return damaged("an array in an array in an array"),
        10 => at.u64()?.to_string(),
        11 => at.i64()?.to_string(),
        12 => f64::from_le_bytes(at.array()?).to_string(),
        other => return damaged(format!("a value has the type {other}, which is none")),
    })
}

fn array(at: &mut Cursor<'_>, depth: u32) -> Parsed<String> {
    let (kind, count) = (at.u32()?, at.u64()?);
    if count > at.left() {
        return damaged(format!("an array of {count} values does not fit into it"));
    }
    let mut told = Vec::new();
    for i in 0..count {
        let value = value(at, kind, depth + 1)?;
        if i < TOLD {
            told.push(value);
        }
    }
    let more = if count > TOLD { format!(", … {} more", count - TOLD) } else { String::new() };
    Ok(format!("[{}{more}]", told.join(", ")))
}

/// An array of i32, ComfyUI-GGUF's shapes.
fn integers(at: &mut Cursor<'_>, kind: u32) -> Parsed<Vec<usize>> {
    let (inner, count) = (at.u32()?, at.u64()?);
    if (kind, inner) != (9, 5) || count > 8 {
        return damaged(format!("a value of {SHAPE_KEY} is no list of axes"));
    }
    (0..count)
        .map(|_| usize::try_from(at.i32()?).or_else(|_| damaged("a shape has a negative axis")))
        .collect()
}
