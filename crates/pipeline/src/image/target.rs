//! What stands where a file is to go.

use super::pattern::failed;
use crate::error::{Error, Result};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub(super) const UNNAMEABLE: &str = "no file can have this name here";

pub(super) const HELD: &str = "another program has the file open; close it there, or choose another name";

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// What stands where a file is to go, links followed.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nothing yet.
    New(PathBuf),
    /// A file, which overwriting replaces.
    File(PathBuf, Metadata),
    /// A FIFO or a character device, which overwriting writes into; and what to call it.
    Stream(PathBuf, &'static str),
}

impl Target {
    /// Looks at a path. Errors where it leads to what no picture can be written to, such as a folder.
    pub fn of(path: &Path) -> Result<Target> {
        // Followed by the system, for it knows links that hold no path (/dev/fd/63).
        if let Some(what) = fs::metadata(path).ok().and_then(|m| stream(&m)) {
            return Ok(Target::Stream(path.to_path_buf(), what));
        }
        let mut at = path.to_path_buf();
        for _ in 0..MOST_LINKS {
            match at.symlink_metadata() {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Target::New(at)),
                Err(e) => return Err(refused(path, &e)),
                Ok(m) if m.is_symlink() => {
                    let to = fs::read_link(&at).map_err(|e| refused(path, &e))?;
                    at = at.parent().unwrap_or(Path::new("")).join(to);
                }
                Ok(m) if m.is_file() => return Ok(Target::File(at, m)),
                Ok(m) if m.is_dir() => return Err(failed(path, "this is a folder; give a file in it")),
                Ok(_) => {
                    return Err(failed(
                        path,
                        "this is a device or a socket and no place for a file; choose another name",
                    ));
                }
            }
        }
        Err(failed(path, "links that lead nowhere; choose another name"))
    }

    /// Where it is in the end.
    pub fn path(&self) -> &Path {
        let (Self::New(path) | Self::File(path, _) | Self::Stream(path, _)) = self;
        path
    }
}

/// What to call that which is written into and cannot be replaced.
#[cfg(unix)]
pub(super) fn stream(there: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = there.file_type();
    if kind.is_fifo() { Some("a FIFO") } else { kind.is_char_device().then_some("a device") }
}

#[cfg(not(unix))]
pub(super) fn stream(_: &Metadata) -> Option<&'static str> {
    None
}

/// What the system said, without the hidden file that it said it of.
pub(super) fn why(e: &io::Error) -> String {
    e.to_string().split(" at path ").next().unwrap_or_default().to_string()
}

pub(super) fn refused(path: &Path, e: &io::Error) -> Error {
    let why = why(e);
    if held(path, e) {
        return failed(path, HELD);
    }
    failed(
        path,
        match e.kind() {
            ErrorKind::NotFound => "the folder does not exist; make it first".into(),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                format!("the folder cannot be written to ({why}); choose another")
            }
            ErrorKind::InvalidFilename => format!("{UNNAMEABLE} ({why}); choose another"),
            _ => format!("cannot be written: {why}"),
        },
    )
}

/// Whether something failed because another program has the file open.
pub(super) fn held(path: &Path, e: &io::Error) -> bool {
    // ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION; a rename says no more than that access is denied.
    let busy = cfg!(windows) && matches!(e.raw_os_error(), Some(32 | 33));
    busy || (e.kind() == ErrorKind::PermissionDenied && kept_open(path))
}

/// Whether another program has a file open and lets nobody replace it.
#[cfg(windows)]
pub(super) fn kept_open(path: &Path) -> bool {
    use std::os::windows::fs::OpenOptionsExt;
    const DELETE: u32 = 0x0001_0000;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    let opened = fs::OpenOptions::new().access_mode(DELETE).open(path);
    opened.is_err_and(|e| e.raw_os_error() == Some(ERROR_SHARING_VIOLATION))
}

#[cfg(not(windows))]
pub(super) fn kept_open(_: &Path) -> bool {
    false
}
