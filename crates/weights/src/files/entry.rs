//! Where a tensor's elements are, and how they become the numbers that are lent.

use super::chunks::Chunks;
use crate::{Bytes, decode};
use calotype_tensor::Encoding;
use std::borrow::Cow;
use std::io;
use std::ops::Range;

/// A tensor in a file: what it is called, how its numbers are stored, its axes, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// How its numbers are stored.
    pub encoding: Encoding,
    /// Its axes, in the file's own order (of GGUF in torch's).
    pub shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    pub range: Range<u64>,
    /// How its elements lie in them.
    pub arrangement: Arrangement,
    /// Whether each element's bytes stand in the opposite order.
    pub big_endian: bool,
}

/// How a tensor's elements lie in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One after another, the last axis fastest.
    Dense,
    /// So many elements apart along each axis.
    Strided(Vec<u64>),
    /// In chunks that may be compressed.
    Chunked(Box<Chunks>),
}

/// A tensor that is written, and what it takes.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Extent<'a> {
    pub name: &'a str,
    pub encoding: Encoding,
    pub shape: &'a [usize],
    pub bytes: usize,
}

/// How many elements a shape has, and the bytes that they take; none where that overflows.
pub(super) fn size(encoding: Encoding, shape: &[usize]) -> Option<(u64, u64)> {
    let numel = shape.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis as u64))?;
    let [block, bytes] = encoding.block().map(|n| n as u64);
    // What is lent is at most eight times as wide.
    numel.checked_mul(8).filter(|&n| usize::try_from(n).is_ok())?;
    Some((numel, numel.div_ceil(block).checked_mul(bytes)?))
}

impl Entry {
    /// A tensor whose elements lie one after another.
    pub(crate) fn dense(name: String, encoding: Encoding, shape: Vec<usize>, range: Range<u64>) -> Self {
        Self { name, encoding, shape, range, arrangement: Arrangement::Dense, big_endian: false }
    }

    /// Some of its elements, whole blocks, as they are lent.
    pub(crate) async fn read<'a>(
        &self,
        file: &'a dyn Bytes,
        elements: Range<usize>,
    ) -> io::Result<Cow<'a, [u8]>> {
        let [block, size] = self.encoding.block().map(|n| n as u64);
        let mut stored = match &self.arrangement {
            Arrangement::Dense => {
                let at = |element: usize| self.range.start + (element as u64).div_ceil(block) * size;
                file.read(at(elements.start)..at(elements.end)).await?
            }
            Arrangement::Strided(strides) => self.gather(file, strides, elements).await?.into(),
            Arrangement::Chunked(chunks) => chunks.read(file, &self.shape, elements).await?.into(),
        };
        if self.big_endian && size > 1 {
            stored.to_mut().chunks_exact_mut(self.word()).for_each(<[u8]>::reverse);
        }
        Ok(decode::lend(self.encoding, stored))
    }

    /// Bytes that stand in an order: of a complex number each half.
    fn word(&self) -> usize {
        let [_, size] = self.encoding.block();
        if self.encoding == Encoding::C64 { size / 2 } else { size }
    }

    /// Elements from the places where their strides have them. What they span is read at once, a slice along the first
    /// axis after another.
    async fn gather(&self, file: &dyn Bytes, strides: &[u64], elements: Range<usize>) -> io::Result<Vec<u8>> {
        let [_, size] = self.encoding.block();
        let mut out = Vec::with_capacity(elements.len() * size);
        let (Some((&rows, inner)), Some((&step, strides))) =
            (self.shape.split_first(), strides.split_first())
        else {
            return Ok(file.read(self.range.start..self.range.start + size as u64).await?.into_owned());
        };
        let slice: usize = inner.iter().product();
        // The last element of a slice, from its first.
        let reach: u64 = inner.iter().zip(strides).map(|(&axis, &stride)| (axis as u64 - 1) * stride).sum();
        for row in elements.start / slice.max(1)..rows {
            let first = row * slice;
            if first >= elements.end {
                break;
            }
            let start = self.range.start + row as u64 * step * size as u64;
            let bytes = file.read(start..start + (reach + 1) * size as u64).await?;
            let wanted = elements.start.max(first) - first..elements.end.min(first + slice) - first;
            walk(inner, strides, wanted, |at| {
                let at = at as usize * size;
                out.extend_from_slice(&bytes[at..at + size]);
            });
        }
        Ok(out)
    }
}

/// Calls `visit` with the offset of each of some elements of a shape, in order.
fn walk(shape: &[usize], strides: &[u64], elements: Range<usize>, mut visit: impl FnMut(u64)) {
    let mut index = vec![0; shape.len()];
    let mut rest = elements.start;
    for (i, &axis) in index.iter_mut().zip(shape).rev() {
        (*i, rest) = (rest % axis, rest / axis);
    }
    let mut at: u64 = index.iter().zip(strides).map(|(&i, &stride)| i as u64 * stride).sum();
    for _ in elements {
        visit(at);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as u64;
            index[axis] = 0;
        }
    }
}
