//! Tensors that are cut into chunks, each of which may be compressed.

use crate::Bytes;
use flate2::read::ZlibDecoder;
use std::io::{self, Read};
use std::ops::Range;

/// What is done to a chunk when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    Shuffle,
    /// A sum behind the bytes.
    Fletcher32,
}

/// Where a tensor's chunks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Elements of a chunk along each axis.
    pub(super) shape: Vec<usize>,
    /// Chunks along each axis.
    pub(super) grid: Vec<usize>,
    /// Bytes of an element.
    pub(super) element: usize,
    pub(super) filters: Vec<Filter>,
    /// All of them, the last axis fastest.
    pub(super) places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub at: u64,
    pub len: u64,
    /// A bit for each filter that was left out.
    pub skipped: u32,
}

impl Chunks {
    /// The filters of a chunk, the last one first.
    pub(super) fn applied(&self, place: &Place) -> impl Iterator<Item = Filter> {
        let skipped = place.skipped;
        self.filters.iter().enumerate().filter(move |(i, _)| skipped >> i & 1 == 0).map(|(_, &f)| f).rev()
    }

    /// Some elements of the tensor, which has this shape.
    pub(super) async fn read(
        &self,
        file: &dyn Bytes,
        shape: &[usize],
        elements: Range<usize>,
    ) -> io::Result<Vec<u8>> {
        let mut out = vec![0; elements.len() * self.element];
        let row: usize = shape[1..].iter().product();
        if elements.is_empty() || row == 0 {
            return Ok(out);
        }
        // Chunks along the first axis that have rows of them, each with all that lie beside it.
        let beside: usize = self.grid[1..].iter().product();
        let first = elements.start / row / self.shape[0] * beside;
        let last = ((elements.end - 1) / row / self.shape[0] + 1) * beside;
        for number in first..last {
            let place = &self.places[number];
            let stored = file.read(place.at..place.at + place.len).await?;
            let bytes = self.unpack(place, &stored)?;
            self.copy(number, &bytes, shape, &elements, &mut out);
        }
        Ok(out)
    }

    /// A chunk's elements from what is stored.
    fn unpack(&self, place: &Place, stored: &[u8]) -> io::Result<Vec<u8>> {
        let len = self.shape.iter().product::<usize>() * self.element;
        let broken =
            || io::Error::new(io::ErrorKind::InvalidData, "a chunk of it is damaged; download it again");
        let mut bytes = stored.to_vec();
        for filter in self.applied(place) {
            match filter {
                Filter::Deflate => {
                    let mut out = Vec::new();
                    // With a sum behind it, perhaps.
                    let most = len as u64 + 4;
                    ZlibDecoder::new(&bytes[..]).take(most).read_to_end(&mut out).map_err(|_| broken())?;
                    bytes = out;
                }
                Filter::Shuffle => bytes = unshuffle(&bytes, self.element),
                Filter::Fletcher32 => bytes.truncate(bytes.len().saturating_sub(4)),
            }
        }
        if bytes.len() < len { Err(broken()) } else { Ok(bytes) }
    }

    /// Copies a chunk's elements to where they belong among those that are wanted.
    fn copy(&self, number: usize, bytes: &[u8], shape: &[usize], wanted: &Range<usize>, out: &mut [u8]) {
        let axes = shape.len();
        let mut origin = vec![0; axes];
        let mut rest = number;
        for axis in (0..axes).rev() {
            origin[axis] = rest % self.grid[axis] * self.shape[axis];
            rest /= self.grid[axis];
        }
        let run = self.shape[axes - 1].min(shape[axes - 1] - origin[axes - 1]);
        let rows: usize = self.shape[..axes - 1].iter().product();
        for row in 0..rows {
            // The row's place in the chunk is counted as its elements are, its place in the dataset by its axes.
            let (mut rest, mut stride, mut start, mut within) =
                (row, shape[axes - 1], origin[axes - 1], true);
            for axis in (0..axes - 1).rev() {
                let at = origin[axis] + rest % self.shape[axis];
                rest /= self.shape[axis];
                within &= at < shape[axis];
                start += at * stride;
                stride *= shape[axis];
            }
            let from = start.max(wanted.start);
            let to = (start + run).min(wanted.end);
            if within && from < to {
                let source = (row * self.shape[axes - 1] + from - start) * self.element;
                let target = (from - wanted.start) * self.element;
                let len = (to - from) * self.element;
                out[target..target + len].copy_from_slice(&bytes[source..source + len]);
            }
        }
    }
}

/// The elements' first bytes, then their second ones, and so on, as elements again.
fn unshuffle(bytes: &[u8], element: usize) -> Vec<u8> {
    let count = bytes.len() / element;
    let mut out = bytes.to_vec();
    for i in 0..count {
        for byte in 0..element {
            out[i * element + byte] = bytes[byte * count + i];
        }
    }
    out
}
