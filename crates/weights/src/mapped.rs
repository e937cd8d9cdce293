use crate::bytes::{Bytes, part};
use crate::{Error, Result};
use calotype_tensor::LocalFuture;
use memmap2::Mmap;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// A file mapped into memory: nothing of it is read until it is asked for.
///
/// It must not be cut short by others while it is open: the operating system then ends the process (SIGBUS).
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Opens a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |error| Error::Io { path: path.into(), error };
        // Looked at before it is opened, for opening a FIFO waits for its writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::NotAFile(path.into()));
        }
        let file = File::open(path).map_err(io)?;
        // An empty file cannot be mapped everywhere.
        if file.metadata().map_err(io)?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the map is read-only and lends plain bytes. That nobody cuts the file short meanwhile is documented.
        Ok(Self(Some(unsafe { Mmap::map(&file) }.map_err(io)?)))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Bytes for Mapped {
    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>> {
        Box::pin(std::future::ready(part(self.bytes(), range)))
    }

    fn whole(&self) -> Option<&[u8]> {
        Some(self.bytes())
    }

    #[cfg(unix)]
    fn release(&self, range: Range<u64>) {
        let Some(map) = self.0.as_ref().filter(|_| !range.is_empty()) else { return };
        let (start, len) = (range.start as usize, (range.end - range.start) as usize);
        // SAFETY: a read-only map of a file; pages given back are read from the file again when touched.
        // It is advice: where it is not taken nothing is lost.
        let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    }
}
