//! Formats of files: what each says of its tensors, as [`Entry`] after [`Entry`], and how its numbers are read.

#[cfg(not(target_arch = "wasm32"))]
mod chunks;
mod entry;
mod others;
mod safetensors;
mod told;

#[cfg(not(target_arch = "wasm32"))]
pub use chunks::Chunks;
pub use entry::{Arrangement, Entry};
pub use told::mishap;

use crate::{Bytes, Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face's.
    Safetensors,
    /// torch's pickle in a zip archive.
    Zip,
    /// The same as torch wrote it before 1.6.
    Legacy,
    /// The same as torch wrote it before 0.1.10.
    Tar,
    /// ggml's.
    Gguf,
    /// Keras', TensorFlow's and h5py's.
    Hdf5,
}

impl Format {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Zip => "PyTorch pickle (zip)",
            Self::Legacy => "PyTorch pickle (legacy)",
            Self::Tar => "PyTorch pickle (tar)",
            Self::Gguf => "GGUF",
            Self::Hdf5 => "HDF5",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
