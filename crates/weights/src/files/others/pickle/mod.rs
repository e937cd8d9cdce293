//! torch's files: pickles, and the numbers that they leave outside, in any of three containers. What they are:
//! `torch/serialization.py`.

mod globals;
mod legacy;
mod machine;
mod names;
mod tar;
mod torch;
mod zip;

use super::view::{Parsed, View, damaged, quote};
use crate::files::entry::size;
use crate::files::{Arrangement, Entry, Format, Header};
use calotype_tensor::Encoding;
use names::Weights;
use std::ops::Range;
use torch::Storage;

pub(super) use legacy::legacy;
pub(super) use tar::tar;
pub(super) use zip::zip;

/// A view that repeats its numbers may do so up to this much beyond what the file holds.
const REPEATED: u64 = 1 << 20;

/// Joins the weights of a pickle with where their storages are in the file.
fn listing(
    format: Format,
    file: View<'_>,
    weights: Weights,
    big_endian: bool,
    place: impl Fn(&Storage) -> Parsed<Range<u64>>,
) -> Parsed<Header> {
    let mut tensors = Vec::new();
    for (name, tensor) in weights.tensors {
        let torch::Tensor { storage, encoding, offset, shape, strides } = tensor;
        let Some(storage) = storage else {
            tensors.push(Entry::dense(name, encoding, shape, 0..0));
            continue;
        };
        let told = quote(&name);
        let [_, unit] = storage.encoding.block().map(|n| n as u64);
        let whole = place(&storage)?;
        // Of what is not read no size is known.
        let [_, element] = encoding.block().map(|n| n as u64);
        let Some((numel, bytes)) = size(encoding, &shape).filter(|_| element == 0 || unit > 0) else {
            return damaged(format!("tensor {told} has shape {shape:?}, which overflows"));
        };
        if bytes > file.len().saturating_add(REPEATED) {
            return damaged(format!("tensor {told} has shape {shape:?}, for more than the whole file holds"));
        }
        let reach = shape.iter().zip(&strides).try_fold(0u64, |reach, (&axis, &stride)| {
            reach.checked_add((axis as u64).saturating_sub(1).checked_mul(stride)?)
        });
        let outside = || format!("tensor {told} reaches beyond its storage {}", quote(&storage.key));
        let span = |reach: u64| {
            let skipped = storage.offset.checked_mul(unit)?.checked_add(offset.checked_mul(element)?)?;
            let from = whole.start.checked_add(skipped)?;
            let len = if numel == 0 { 0 } else { reach.checked_add(1)?.checked_mul(element)? };
            Some(from..from.checked_add(len)?)
        };
        let Some(range) = reach.and_then(span).filter(|range| numel == 0 || range.end <= whole.end) else {
            return damaged(outside());
        };
        let arrangement = if numel == 0 || dense(&shape, &strides) {
            Arrangement::Dense
        } else {
            Arrangement::Strided(strides)
        };
        let range = if numel == 0 { whole.start..whole.start } else { range };
        tensors.push(Entry { name, encoding, shape, range, arrangement, big_endian });
    }
    Ok(Header { format, tensors, metadata: weights.metadata })
}

/// Whether elements lie one after another; an axis of one element may have any stride.
fn dense(shape: &[usize], strides: &[u64]) -> bool {
    let mut next = 1;
    shape.iter().zip(strides).rev().all(|(&axis, &stride)| {
        let fits = axis == 1 || stride == next;
        next *= axis as u64;
        fits
    })
}

/// Bytes of the elements of a storage.
fn bytes(encoding: Encoding, count: u64) -> Parsed<u64> {
    let [_, unit] = encoding.block();
    count.checked_mul(unit as u64).map_or_else(|| damaged("a storage overflows"), Ok)
}
