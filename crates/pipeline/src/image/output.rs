//! Files on disk: written whole or not at all, never over another one unasked.
#![cfg(not(target_arch = "wasm32"))]

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

fn failed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Image { file: path.display().to_string(), reason: reason.into() }
}

/// Writes `bytes` to `path` through a temporary file beside it, so that no reader ever sees half a file. Errors where
/// the folder does not exist, and where the file does unless `overwrite` is set.
pub fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let taken = || failed(path, "the file exists; choose another name or allow overwriting (--overwrite)");
    let name = path.file_name().ok_or_else(|| failed(path, "not a file name"))?;
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(hidden);
    let written = write_part(&part, bytes).and_then(|()| match overwrite {
        true => fs::rename(&part, path),
        // A link fails where a rename would replace: another process may have taken the name meanwhile. File systems
        // without links get the rename.
        false => match fs::hard_link(&part, path) {
            Ok(()) => fs::remove_file(&part),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(e),
            Err(_) => fs::rename(&part, path),
        },
    });
    written.map_err(|e| {
        let _ = fs::remove_file(&part);
        match e.kind() {
            ErrorKind::AlreadyExists if !overwrite => taken(),
            ErrorKind::NotFound => failed(path, "the folder does not exist; make it first"),
            ErrorKind::PermissionDenied => {
                failed(path, "the folder cannot be written to; choose another --output")
            }
            _ => failed(path, format!("cannot be written: {e}")),
        }
    })
}

fn write_part(part: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// An output name with a place for a number, such as `out_%05d.png`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    folder: PathBuf,
    before: String,
    /// Digits at least; `None` where the name has no place for a number.
    digits: Option<usize>,
    after: String,
}

impl Pattern {
    /// Reads a pattern: at most one `%d` or `%0Nd` in the file name. `%%` is a percent sign.
    pub fn parse(pattern: &str) -> Result<Pattern> {
        let path = Path::new(pattern);
        let name =
            path.file_name().and_then(|n| n.to_str()).ok_or_else(|| failed(path, "not a file name"))?;
        let (mut parts, mut digits) = (vec![String::new()], None);
        let mut rest = name;
        while let Some((text, after)) = rest.split_once('%') {
            parts.last_mut().into_iter().for_each(|p| p.push_str(text));
            if let Some(after) = after.strip_prefix('%') {
                parts.last_mut().into_iter().for_each(|p| p.push('%'));
                rest = after;
                continue;
            }
            let wrong = || {
                failed(path, "the pattern may have one number, as %d or %05d; write %% for a percent sign")
            };
            let (width, after) = after.split_once('d').ok_or_else(wrong)?;
            let width = if width.is_empty() {
                1
            } else {
                width.parse().ok().filter(|w| *w <= 20).ok_or_else(wrong)?
            };
            if digits.replace(width).is_some() {
                return Err(wrong());
            }
            parts.push(String::new());
            rest = after;
        }
        parts.last_mut().into_iter().for_each(|p| p.push_str(rest));
        let after = if digits.is_some() { parts.pop() } else { None };
        let before = parts.pop().unwrap_or_default();
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Pattern { folder, before, digits, after: after.unwrap_or_default() })
    }

    /// Whether names have a number, so that there is always a free one.
    pub fn numbered(&self) -> bool {
        self.digits.is_some()
    }

    fn name(&self, number: Option<u64>) -> PathBuf {
        let number = match (number, self.digits) {
            (Some(n), digits) => format!("{n:0width$}", width = digits.unwrap_or(1)),
            (None, _) => String::new(),
        };
        self.folder.join(format!("{}{number}{}", self.before, self.after))
    }

    /// Names for `count` pictures. A numbered pattern goes on after the highest number in its folder. A plain name
    /// serves one picture; for more, `out.png` becomes `out_1.png`, `out_2.png`, … Errors where a plain name is taken
    /// and `overwrite` is not set.
    pub fn names(&self, count: usize, overwrite: bool) -> Result<Vec<PathBuf>> {
        if self.digits.is_some() {
            let next = self.highest().map_or(0, |n| n + 1);
            return Ok((next..).take(count).map(|n| self.name(Some(n))).collect());
        }
        let plain = self.name(None);
        let names = match (count, self.before.rsplit_once('.')) {
            (1, _) => vec![plain],
            (_, Some((stem, extension))) => {
                (1..=count).map(|n| self.folder.join(format!("{stem}_{n}.{extension}"))).collect()
            }
            (_, None) => {
                (1..=count).map(|n| self.folder.join(format!("{}_{n}", self.before))).collect::<Vec<_>>()
            }
        };
        match names.iter().find(|name| !overwrite && name.symlink_metadata().is_ok()) {
            Some(taken) => Err(failed(
                taken,
                "the file exists; choose another name, a pattern such as out_%05d.png, or allow overwriting (--overwrite)",
            )),
            None => Ok(names),
        }
    }

    /// The highest number that a file of this pattern has.
    fn highest(&self) -> Option<u64> {
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let number = |name: String| {
            let digits = name.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        names.filter_map(number).max()
    }
}
