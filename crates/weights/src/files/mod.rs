//! Formats of files: what each says of its tensors, as [`Entry`] after [`Entry`], and how its numbers are read.
//!
//! A format is a function that is given a `View` of the file and returns a [`Header`]. What it asks for and has not been
//! fetched is fetched, and it begins again: so one function serves files that are mapped, in memory, and far away.

mod chunks;
mod entry;
mod gguf;
mod hdf5;
mod pickle;
mod safetensors;
mod told;
mod view;

pub use chunks::Chunks;
pub use entry::{Arrangement, Entry};
pub use told::mishap;

use crate::{Bytes, Error, Result};
use entry::size;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use view::{Fault, Parsed, View};

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

    /// What a parser makes of it.
    async fn parse<T>(&self, format: Format, parser: impl Fn(View<'_>) -> Parsed<T>) -> Result<T> {
        let place = || self.place.to_owned();
        let io = |error| Error::Io { path: PathBuf::from(self.place), error };
        view::parse(self.bytes, parser).await.map_err(io)?.map_err(|fault| match fault {
            Fault::Short { needs, has } => Error::Truncated { place: place(), needs, has },
            Fault::Foreign(why) => Error::Unread { place: place(), format, why },
            other => Error::Damaged { place: place(), format, why: other.to_string() },
        })
    }
}

/// The first bytes that a format is told by.
const MAGIC: u64 = 1024;

/// Reads what a file says of its tensors, in the format that its first bytes are of; what it is called does not matter.
/// `place` is its name in errors.
pub async fn list(place: &str, bytes: &dyn Bytes) -> Result<Header> {
    let file = Source { place, bytes };
    let head = file.read(0..MAGIC.min(bytes.size())).await?;
    let parser: fn(View<'_>) -> Parsed<Header> = match told::format(&head) {
        Some(Format::Safetensors) => return safetensors::list(&file, &head).await,
        Some(Format::Zip) => pickle::zip,
        Some(Format::Legacy) => pickle::legacy,
        Some(Format::Tar) => pickle::tar,
        Some(Format::Gguf) => gguf::parse,
        Some(Format::Hdf5) => hdf5::parse,
        // HDF5 may have a block of the user's in front.
        None => match file.parse(Format::Hdf5, hdf5::start).await? {
            Some(_) => hdf5::parse,
            None => return Err(told::error(place, &head)),
        },
    };
    let format = told::format(&head).unwrap_or(Format::Hdf5);
    file.parse(format, |view| parser(view)?.distinct()).await
}

impl Header {
    /// Fails where two tensors have one name.
    fn distinct(self) -> Parsed<Self> {
        let mut seen = HashSet::new();
        match self.tensors.iter().find(|entry| !seen.insert(&entry.name)) {
            Some(entry) => {
                view::damaged(format!("two tensors in it are called {}", view::quote(&entry.name)))
            }
            None => Ok(self),
        }
    }
}
