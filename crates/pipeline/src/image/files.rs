//! Files on disk: whole or not there at any moment, never in the place of another one unasked.

use super::pattern::{Pattern, failed, folder_of};
use super::target::{HELD, Target, UNNAMEABLE, held, kept_open, refused, stream, why};
use crate::error::Result;
use calotype_field::Field;
use calotype_weights::names;
#[cfg(windows)]
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, PersistError};

/// What is said of a file that is there and is not to be replaced.
fn taken() -> String {
    let overwrite = Field::Overwrite;
    format!(
        "the file exists; choose another name, a pattern such as out_%05d.png, or allow overwriting ({overwrite})"
    )
}

/// Whether a file can be written there, found out without writing it: that the folder takes files and this name, that
/// the name is free or `overwrite` is set, and that what stands there may be replaced.
pub fn check(path: &Path, overwrite: bool) -> Result<Target> {
    nameable(path)?;
    if !overwrite && path.symlink_metadata().is_ok() {
        let stream = fs::metadata(path).ok().and_then(|m| stream(&m));
        let into = |what| format!("this is {what}; {} writes into it", Field::Overwrite);
        return Err(failed(path, stream.map_or_else(taken, into)));
    }
    let target = Target::of(path)?;
    match &target {
        Target::New(at) => check_name(at)?,
        Target::File(at, there) => {
            check_name(at)?;
            check_protection(at, there)?;
            if kept_open(at) {
                return Err(failed(at, HELD));
            }
        }
        Target::Stream(..) => {}
    }
    Ok(target)
}

/// Replacing a file asks the folder only; what its owner has protected is left alone.
fn check_protection(at: &Path, there: &Metadata) -> Result<()> {
    let protected =
        |why: String| failed(at, format!("the file is write-protected{why}; choose another name"));
    if there.permissions().readonly() {
        return Err(protected(String::new()));
    }
    match OpenOptions::new().write(true).open(at) {
        Err(e) if !held(at, &e) => Err(protected(format!(" ({e})"))),
        _ => Ok(()),
    }
}

/// Makes a file of this name in a folder of its own, where nobody takes it for a picture.
fn check_name(path: &Path) -> Result<()> {
    let folder = folder_of(path.parent().unwrap_or(Path::new("")));
    match fs::metadata(folder) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => return Err(failed(path, format!("{} is no folder", folder.display()))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(failed(
                path,
                format!("the folder {} does not exist; make it first", folder.display()),
            ));
        }
        Err(e) => {
            return Err(failed(path, format!("the folder {} cannot be reached ({e})", folder.display())));
        }
    }
    let unwritable = |e: io::Error| {
        let (folder, why) = (folder.display(), why(&e));
        failed(path, format!("the folder {folder} cannot be written to ({why}); choose another"))
    };
    let probe = tempfile::Builder::new().prefix(".calotype.").suffix(".probe").tempdir_in(folder);
    let probe = probe.map_err(unwritable)?;
    match File::create_new(probe.path().join(alike(path))) {
        // The probe's own folder may be what makes the path too long.
        Err(e) if !too_long(&e) || path.symlink_metadata().is_err_and(|e| too_long(&e)) => {
            Err(failed(path, format!("{UNNAMEABLE} ({e}); choose another")))
        }
        _ => Ok(()),
    }
}

fn nameable(path: &Path) -> Result<()> {
    misread(path).map_or(Ok(()), |why| Err(failed(path, format!("{UNNAMEABLE} ({why}); choose another"))))
}

/// Why Windows would take a name for another, and put the file where nobody looks for it.
fn misread(path: &Path) -> Option<&'static str> {
    path.file_name().filter(|_| cfg!(windows)).and_then(|name| names::windows(&name.to_string_lossy()))
}

fn too_long(e: &io::Error) -> bool {
    e.kind() == ErrorKind::InvalidFilename
}

/// The name with another extension, as long: it is not to be found as a picture.
fn alike(path: &Path) -> OsString {
    let extension = path.extension().map_or(0, |e| e.len());
    path.with_extension("x".repeat(extension)).file_name().unwrap_or_default().to_os_string()
}

/// Writes `bytes` to `path` through a temporary file beside it, so that no reader ever sees half a file. Errors where
/// the folder does not exist, and where the file does unless `overwrite` is set. Then a file keeps its permissions, a
/// link its place (its target is replaced), and a FIFO or a character device is written into.
pub fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    write_by(path, overwrite, &mut |to| to.write_all(bytes))
}

/// The same of what `fill` writes piece by piece.
pub fn write_by(path: &Path, overwrite: bool, fill: Fill<'_>) -> Result<()> {
    if !overwrite {
        let claimed = part(path, fill).and_then(|part| claim(part, path)).map_err(|e| refused(path, &e))?;
        return if claimed.is_none() { Ok(()) } else { Err(failed(path, taken())) };
    }
    nameable(path)?;
    let written = match Target::of(path)? {
        Target::Stream(at, what) => {
            let written = OpenOptions::new().write(true).open(at).and_then(|mut to| fill(&mut to));
            return written.map_err(|e| failed(path, format!("{what} that cannot be written into: {e}")));
        }
        Target::New(at) => part(&at, fill).and_then(|part| replace(part, &at)),
        Target::File(at, there) => {
            check_protection(&at, &there)?;
            part(&at, fill).and_then(|part| {
                keep_permissions(part.as_file(), &there)?;
                replace(part, &at)
            })
        }
    };
    written.map_err(|e| refused(path, &e))
}

/// Writes a file if its name is free, and says whether it was.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    let taken = part(path, &mut |to| to.write_all(bytes))
        .and_then(|part| claim(part, path))
        .map_err(|e| refused(path, &e))?;
    Ok(taken.is_none())
}

/// Writes a file of a numbered pattern under the first number from `from` on that is free, whoever else takes numbers
/// meanwhile. Returns the number and the name.
pub fn write_next(pattern: &Pattern, from: u64, bytes: &[u8]) -> Result<(u64, PathBuf)> {
    let (mut n, mut path) = (from, pattern.name(from));
    let mut waiting = part(&path, &mut |to| to.write_all(bytes)).map_err(|e| refused(&path, &e))?;
    while let Some(part) = claim(waiting, &path).map_err(|e| refused(&path, &e))? {
        n = pattern.after(pattern.highest().max(Some(n)))?;
        (waiting, path) = (part, pattern.name(n));
    }
    Ok((n, path))
}

/// What writes a file.
type Fill<'a> = &'a mut dyn FnMut(&mut File) -> io::Result<()>;

/// A file under a name that nobody has, in the folder where it is to be.
fn part(path: &Path, fill: Fill<'_>) -> io::Result<NamedTempFile> {
    if let Some(why) = misread(path) {
        return Err(io::Error::new(ErrorKind::InvalidFilename, why));
    }
    let mut named = tempfile::Builder::new();
    named.prefix(".calotype.").suffix(".part");
    #[cfg(unix)]
    named.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut part = named.tempfile_in(long(folder_of(path.parent().unwrap_or(Path::new("")))))?;
    fill(part.as_file_mut())?;
    part.as_file().sync_all()?;
    Ok(part)
}

/// A path as Windows' own functions take one of any length; those that Rust has do this themselves.
#[cfg(windows)]
fn long(path: &Path) -> PathBuf {
    use os_str_bytes::OsStrBytesExt;
    use std::path::{Component, Prefix, absolute};
    let Ok(full) = absolute(path) else { return path.to_path_buf() };
    let Some(Component::Prefix(prefix)) = full.components().next() else { return full };
    let (mark, rest) = match prefix.kind() {
        Prefix::Disk(_) => (r"\\?\", Some(full.as_os_str())),
        Prefix::UNC(..) => (r"\\?\UNC\", full.as_os_str().strip_prefix(r"\\")),
        _ => return full,
    };
    OsString::from_iter([OsStr::new(mark), rest.unwrap_or(OsStr::new(""))]).into()
}

#[cfg(not(windows))]
fn long(path: &Path) -> PathBuf {
    path.to_path_buf()
}

/// A file that was renamed, or is given back.
type Renamed<T> = std::result::Result<T, PersistError>;

/// Gives a file a name, in place of what has it.
fn replace(part: NamedTempFile, path: &Path) -> io::Result<()> {
    let path = long(path);
    Ok(patiently(&path, part, |part| part.persist(&path))?)
}

/// Renames a file; again after a moment where another program holds one of the two, as those do that look at all new
/// files.
fn patiently(
    path: &Path,
    mut part: NamedTempFile,
    rename: impl Fn(NamedTempFile) -> Renamed<File>,
) -> Renamed<()> {
    for millis in [20, 50, 100, 200, 400] {
        part = match rename(part) {
            Err(failed) if held(path, &failed.error) => failed.file,
            done => return done.map(drop),
        };
        std::thread::sleep(Duration::from_millis(millis));
    }
    rename(part).map(drop)
}

/// Gives a file its name, or gives it back where the name is taken.
fn claim(part: NamedTempFile, path: &Path) -> io::Result<Option<NamedTempFile>> {
    let path = &long(path);
    let failed = match patiently(path, part, |part| part.persist_noclobber(path)) {
        Ok(()) => return Ok(None),
        Err(failed) => failed,
    };
    match failed.error.kind() {
        ErrorKind::AlreadyExists => Ok(Some(failed.file)),
        ErrorKind::NotFound | ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem => Err(failed.error),
        // A file system that can neither link nor rename without replacing: the name is taken first, then filled.
        _ => match File::create_new(path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Some(failed.file)),
            Err(e) => Err(e),
            Ok(_) => match patiently(path, failed.file, |part| part.persist(path)) {
                Ok(()) => Ok(None),
                Err(e) => {
                    let _ = fs::remove_file(path);
                    Err(e.error)
                }
            },
        },
    }
}

/// The permissions of the file that is replaced, and its owner where that is allowed.
fn keep_permissions(part: &File, there: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::fs::{MetadataExt, fchown};
        let _ = fchown(part, Some(there.uid()), Some(there.gid()));
        // Not what runs a program as its owner: that may be another now.
        part.set_permissions(fs::Permissions::from_mode(there.mode() & 0o777))
    }
    #[cfg(not(unix))]
    part.set_permissions(there.permissions())
}

/// Makes a folder of what `fill` puts into it: whole or not at all, and only where there is nothing of that name.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(failed(path, "it exists, and a model's folder replaces nothing; choose another name"));
    }
    check_name(path)?;
    let failed = |e: io::Error| refused(path, &e);
    let hidden = tempfile::Builder::new()
        .prefix(".calotype.")
        .suffix(".part")
        .tempdir_in(folder_of(path.parent().unwrap_or(Path::new(""))));
    let hidden = hidden.map_err(failed)?;
    // Within it, for it is closed to others.
    let folder = hidden.path().join("model");
    fs::create_dir(&folder).map_err(failed)?;
    fill(&folder)?;
    fs::rename(&folder, path).map_err(failed)
}

#[cfg(all(test, windows))]
#[test]
fn paths_of_any_length_keep_their_drive_or_share() {
    for (path, whole) in [
        (r"C:\a\b.png", r"\\?\C:\a\b.png"),
        ("C:/a/b.png", r"\\?\C:\a\b.png"),
        (r"\\server\share\a\b.png", r"\\?\UNC\server\share\a\b.png"),
        (r"\\?\C:\a\b.png", r"\\?\C:\a\b.png"),
    ] {
        assert_eq!(long(Path::new(path)), Path::new(whole), "{path}");
    }
}
