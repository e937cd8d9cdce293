//! Tensors of halves, which stay as they are: of the largest ones each copy counts, in a page whose memory is small.

use super::{Part, checked};
use crate::value::Layout;
use crate::{Error, Tensor, Weight};
use calotype_tensor::{DType, Encoding, Shape};
use std::borrow::Cow;

/// Whether a weight is a table of halves, such as a vocabulary's, that lies as it is stored.
pub(super) fn lie_as_stored(weight: &Weight, seen: Shape, parts: &[Part<'_>]) -> bool {
    let [part] = parts else { return false };
    let is_half = weight.stored == Encoding::F16 && part.dtype == DType::F16;
    is_half && weight.layout == Layout::Table && part.bytes.len() as u64 == seen.bytes(DType::F16)
}

/// Such a weight's bytes.
pub(super) fn as_stored(weight: &Weight, parts: Vec<Part<'_>>) -> Result<Vec<u8>, Error> {
    for (tensor, part) in weight.tensors.iter().zip(&parts) {
        of(tensor, part)?;
    }
    Ok(parts.into_iter().next().map_or_else(Vec::new, |part| part.bytes.into_owned()))
}

/// A tensor's halves, where they are finite.
pub(super) fn of<'a>(tensor: &Tensor, part: &'a Part<'_>) -> Result<Cow<'a, [u16]>, Error> {
    let as_they_are = bytemuck::try_cast_slice(&part.bytes).map(Cow::Borrowed);
    let halves: Cow<'_, [u16]> =
        as_they_are.unwrap_or_else(|_| Cow::Owned(bytemuck::pod_collect_to_vec(&part.bytes)));
    checked(tensor, part, halves.iter().filter(|half| *half & 0x7c00 == 0x7c00).count())?;
    Ok(halves)
}
