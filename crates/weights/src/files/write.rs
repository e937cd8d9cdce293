//! Files, written a tensor at a time: no more than one is in memory.

use super::entry::Extent;
use super::{Format, others::gguf, safetensors};
use crate::{Error, Result};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{Encoding, TensorInfo, Tensors, blocks};
use half::{bf16, f16};
use pollster::block_on;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

/// A tensor that a file is to hold, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAs {
    /// Its path.
    pub name: String,
    /// How its numbers are to be stored: as they are, or in a type that is made ([`holds`]).
    pub encoding: Encoding,
}

/// Whether a format has a type, as rows of so many elements.
pub fn holds(format: Format, encoding: Encoding, row: usize) -> bool {
    match format {
        Format::Safetensors => safetensors::dtype(encoding).is_some(),
        Format::Gguf => gguf::number(encoding).is_some() && row.is_multiple_of(encoding.block()[0]),
        _ => false,
    }
}

/// Writes a safetensors or a GGUF file. `told` hears of every tensor's bytes before they are written, and whether to go on.
///
/// # Errors
/// Numbers that are not finite, or that do not fit, where they are converted; a type or a shape that the format has not.
pub fn write(
    format: Format,
    out: &mut dyn Write,
    source: &dyn Tensors,
    tensors: &[StoredAs],
    metadata: &BTreeMap<String, String>,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let sized = tensors.iter().map(|planned| size(format, source, planned)).collect::<Result<Vec<_>>>()?;
    let (header, order) = match format {
        Format::Gguf => (gguf::header(&sized, metadata), (0..sized.len()).collect()),
        _ => safetensors::header(&sized, metadata),
    };
    out.write_all(&header).map_err(Error::Output)?;
    for Extent { name, encoding, bytes, .. } in order.into_iter().map(|at| &sized[at]) {
        if !told(*bytes as u64) {
            return Err(Error::Stopped);
        }
        out.write_all(&stored(source, name, *encoding)?).map_err(Error::Output)?;
        source.release(name);
        if format == Format::Gguf {
            let padding = (*bytes as u64).next_multiple_of(gguf::ALIGNMENT) - *bytes as u64;
            out.write_all(&vec![0; padding as usize]).map_err(Error::Output)?;
        }
    }
    Ok(())
}

fn size<'a>(format: Format, source: &'a dyn Tensors, planned: &'a StoredAs) -> Result<Extent<'a>> {
    let StoredAs { name, encoding } = planned;
    let TensorInfo { shape, .. } = source.get(name)?;
    let unwritable = |why| Error::Unwritable { tensor: name.clone(), place: source.describe(name), why };
    if !holds(format, *encoding, shape.last().copied().unwrap_or(1)) {
        return Err(unwritable(format!("{format} has no rows of {encoding} of shape {shape:?}")));
    }
    if format == Format::Gguf && shape.len() > gguf::MOST_AXES as usize {
        return Err(unwritable(format!(
            "it has shape {shape:?}, and {format} has at most {} axes",
            gguf::MOST_AXES
        )));
    }
    let bytes = encoding.bytes(shape.iter().product()) as usize;
    Ok(Extent { name, encoding: *encoding, shape, bytes })
}

/// A tensor's bytes in an encoding.
fn stored<'a>(source: &'a dyn Tensors, name: &'a str, encoding: Encoding) -> Result<Cow<'a, [u8]>> {
    let info = source.get(name)?;
    if info.encoding == encoding
        && let Some(bytes) = source.as_stored(name)
    {
        return Ok(block_on(bytes)?);
    }
    let bytes = block_on(source.read_all(name))?;
    if Encoding::from(info.dtype) == encoding {
        return Ok(bytes);
    }
    let made = [Encoding::F32, Encoding::F16, Encoding::BF16];
    if !made.contains(&encoding) && !blocks::MADE.contains(&encoding) {
        let why = format!("{} is not converted to {encoding}", info.encoding);
        return Err(Error::Unwritable { tensor: name.into(), place: source.describe(name), why });
    }
    let numbers = info.dtype.to_f32(&bytes);
    let count = numbers.par_iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(Error::NotFinite { tensor: name.into(), place: source.describe(name), count });
    }
    let largest = match encoding {
        Encoding::F32 => f32::MAX,
        // What does not round to infinity.
        Encoding::BF16 => 3.395e38,
        Encoding::F16 => 65519.0,
        // A block's scale is an f16.
        _ => 65504.0,
    };
    let count = numbers.par_iter().filter(|v| v.abs() > largest).count();
    if count > 0 {
        return Err(Error::TooLarge { tensor: name.into(), place: source.describe(name), count, encoding });
    }
    Ok(encode(encoding, &numbers).into())
}

fn encode(encoding: Encoding, numbers: &[f32]) -> Vec<u8> {
    match encoding {
        Encoding::F32 => numbers.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Encoding::F16 => numbers.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Encoding::BF16 => numbers.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        blocks => blocks::encode(blocks, numbers),
    }
}
