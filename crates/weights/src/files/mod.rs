//! Formats of files: what each says of its tensors, as [`Entry`] after [`Entry`], and how its numbers are read.

mod chunks;
mod entry;
mod others;
mod safetensors;
mod told;
#[cfg(not(target_arch = "wasm32"))]
mod write;

pub use chunks::Chunks;
pub use entry::{Arrangement, Entry};
pub use told::mishap;
#[cfg(not(target_arch = "wasm32"))]
pub use write::{StoredAs, holds, write};

pub use crate::format::Format;

use crate::{Bytes, Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// What a file says of itself, whatever its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub format: Format,
    /// Its tensors, each name once.
    pub tensors: Vec<Entry>,
    /// What it says beside them: safetensors' `__metadata__`, GGUF's values, what lies beside a pickle's tensors, and HDF5's
    /// attributes (`layer_names` of the file, `path@weight_names` of a group; several values as JSON).
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
const MAGIC: u64 = 1024;

/// Reads what a file says of its tensors, in the format that its first bytes are of; what it is called does not matter.
/// `place` is its name in errors.
pub async fn list(place: &str, bytes: &dyn Bytes) -> Result<Header> {
    let file = Source { place, bytes };
    let head = file.read(0..MAGIC.min(bytes.size())).await?;
    match told::format(&head) {
        Some(Format::Safetensors) => safetensors::list(&file, &head).await,
        other => others::list(&file, other, &head).await,
    }
}
