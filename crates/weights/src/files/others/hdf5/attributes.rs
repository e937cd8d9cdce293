//! Attributes (IV.A.2.m, IV.A.2.v) as text: a text as it is, numbers in figures, several values as JSON.

use super::dataset::{self, Type};
use super::file::{File, Message, kind};
use super::heap::{Fractal, global, records};
use crate::files::others::view::{Cursor, Parsed, damaged};
use std::collections::BTreeMap;

/// Values of an attribute that are told.
const MOST_VALUES: u64 = 1 << 16;
/// Texts that Keras cuts in pieces, `layer_names0`, `layer_names1`, …, where they are longer than an attribute may be
/// (`save_attributes_to_hdf5_group` in its `legacy_h5_format.py`).
const IN_PIECES: [&str; 2] = ["layer_names", "weight_names"];

/// The attributes of an object; `room` is how many bytes of text all of a file's may still take.
pub(super) fn read(file: &File<'_>, messages: &[Message], room: &mut u64) -> Parsed<Vec<(String, String)>> {
    let mut found = Vec::new();
    for message in messages {
        let mut at = message.data(file);
        match message.kind {
            kind::ATTRIBUTE if !message.shared => found.extend(attribute(file, &mut at, room)?),
            kind::ATTRIBUTE_INFO => {
                at.skip(1)?;
                let flags = at.u8()?;
                at.skip(if flags & 1 != 0 { 2 } else { 0 })?;
                let (heap, tree) = (file.address(&mut at)?, file.address(&mut at)?);
                if let (Some(heap), Some(tree)) = (heap, tree) {
                    let heap = Fractal::open(file, heap)?;
                    for record in records(file, tree)? {
                        found.extend(attribute(file, &mut heap.object(record)?, room)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// One attribute; none where it holds nothing that can be told.
fn attribute(file: &File<'_>, at: &mut Cursor<'_>, room: &mut u64) -> Parsed<Option<(String, String)>> {
    let (version, flags) = (at.u8()?, at.u8()?);
    let lens = [at.u16()?, at.u16()?, at.u16()?].map(u64::from);
    if !(1..=3).contains(&version) {
        return damaged(format!("an attribute has version {version}"));
    }
    at.skip(if version == 3 { 1 } else { 0 })?;
    // The first version fills each part up.
    let [name_len, type_len, space_len] =
        lens.map(|len| if version == 1 { len.next_multiple_of(8) } else { len });
    let name = at.take(name_len)?;
    let name = String::from_utf8_lossy(name.split(|&b| b == 0).next().unwrap_or_default()).into_owned();
    // A type or a shape that is kept elsewhere.
    if flags & 3 != 0 {
        return Ok(None);
    }
    let kind = Type::read(&mut at.clone())?;
    at.skip(type_len)?;
    let shape = dataset::shape(file, &mut at.clone())?;
    at.skip(space_len)?;
    let Some(shape) = shape else { return Ok(None) };
    let count = shape.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis)).unwrap_or(u64::MAX);
    if count > MOST_VALUES {
        return Ok(None);
    }
    let mut values = Vec::new();
    for _ in 0..count {
        let Some(value) = value(file, at, kind)? else { return Ok(None) };
        let len = 1 + value.as_str().map_or(0, str::len) as u64;
        let Some(rest) = room.checked_sub(len) else {
            return damaged("its attributes repeat more text than it holds");
        };
        *room = rest;
        values.push(value);
    }
    let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let text = match (&*shape, &*values) {
        ([], [value]) => plain(value),
        _ => serde_json::Value::Array(values).to_string(),
    };
    Ok(Some((name, text)))
}

fn value(file: &File<'_>, at: &mut Cursor<'_>, kind: Type) -> Parsed<Option<serde_json::Value>> {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        String::from_utf8_lossy(&bytes[..end]).into_owned().into()
    };
    Ok(match kind {
        Type::Text(len) => Some(text(at.take(len)?)),
        Type::LongText => {
            let len = at.u32()?;
            let (heap, index) = (file.address(at)?, at.u32()?);
            match heap {
                Some(heap) if len > 0 && heap > 0 => Some(text(global(file, heap, index)?)),
                _ => Some("".into()),
            }
        }
        Type::Number(encoding, big_endian) => {
            let [_, size] = encoding.block();
            let mut bytes = at.take(size as u64)?.to_vec();
            if big_endian {
                bytes.reverse();
            }
            number(encoding, &bytes)
        }
        Type::Other(_) => None,
    })
}

/// A number's little-endian bytes in JSON.
fn number(encoding: calotype_tensor::Encoding, bytes: &[u8]) -> Option<serde_json::Value> {
    use calotype_tensor::Encoding;
    let unsigned = bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let unused = 64 - 8 * bytes.len() as u32;
    let signed = (unsigned << unused) as i64 >> unused;
    Some(match encoding {
        Encoding::Bool => (unsigned != 0).into(),
        Encoding::U8 | Encoding::U16 | Encoding::U32 | Encoding::U64 => unsigned.into(),
        Encoding::I8 | Encoding::I16 | Encoding::I32 | Encoding::I64 => signed.into(),
        Encoding::F16 => half::f16::from_bits(unsigned as u16).to_f64().into(),
        Encoding::F32 => f64::from(f32::from_bits(unsigned as u32)).into(),
        Encoding::F64 => f64::from_bits(unsigned).into(),
        _ => return None,
    })
}

/// Joins the pieces of Keras' lists of names.
pub(super) fn join(metadata: &mut BTreeMap<String, String>) {
    for list in IN_PIECES {
        let first = format!("{list}0");
        let stems: Vec<String> =
            metadata.keys().filter_map(|key| Some(key.strip_suffix(&first)?.to_owned())).collect();
        for stem in stems {
            let mut names = Vec::new();
            for i in 0.. {
                let Some(piece) = metadata.remove(&format!("{stem}{list}{i}")) else { break };
                names.extend(serde_json::from_str::<Vec<serde_json::Value>>(&piece).unwrap_or_default());
            }
            metadata.insert(format!("{stem}{list}"), serde_json::Value::Array(names).to_string());
        }
    }
}
