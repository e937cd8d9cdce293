//! Formats of files: what each says of its tensors, as [`Entry`] after [`Entry`]. The numbers are read elsewhere.

mod safetensors;

pub use safetensors::mishap;

use crate::{Bytes, Error, Result};
use calotype_tensor::Encoding;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// A tensor in a file: what it is called, how its numbers are stored, its axes, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// How its numbers are stored.
    pub encoding: Encoding,
    /// Its axes, in the file's own order. The bytes are those of as many elements, the last axis fastest.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    pub range: Range<u64>,
}

/// What a file says of itself, whatever its format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its tensors, each name once.
    pub tensors: Vec<Entry>,
    /// What it says beside them.
    pub metadata: BTreeMap<String, String>,
}

/// A file that a format is read from.
pub(crate) struct Source<'a> {
    /// Its name in errors.
    pub place: &'a str,
    pub bytes: &'a dyn Bytes,
}

impl Source<'_> {
    /// Some of its bytes.
    pub async fn read(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let io = |error| Error::Io { path: PathBuf::from(self.place), error };
        self.bytes.read(range).await.map_err(io)
    }
}

/// The first bytes that a format is told by.
const MAGIC: u64 = 16;

/// Reads what a file says of its tensors, in the format that its first bytes are of; `place` is its name in errors.
pub async fn list(place: &str, bytes: &dyn Bytes) -> Result<Header> {
    let file = Source { place, bytes };
    let head = file.read(0..MAGIC.min(bytes.size())).await?;
    // One format so far: whatever else it is, is told there.
    safetensors::list(&file, &head).await
}
