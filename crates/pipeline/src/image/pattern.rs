//! Names of files with a place for a number. Names are the system's own: what is not UTF-8 stays as it is.

use crate::error::{Error, Result};
use os_str_bytes::OsStrBytesExt;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf, is_separator};

/// Of a folder that cannot be listed, names up to this number are looked for one by one.
const UNLISTED: u64 = 1000;

pub(super) fn failed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Image { file: path.display().to_string(), reason: reason.into() }
}

/// An output name, with or without a place for a number: `cat.png`, `out_%05d.png`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    folder: PathBuf,
    before: OsString,
    number: Number,
    after: OsString,
}

/// Which numbers stand between the parts of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    None,
    /// Any that is free, in so many digits at least.
    Free(usize),
    /// 1 to this one.
    Listed(u64),
}

impl Pattern {
    /// Reads a pattern: at most one `%d` or `%0Nd` in the file name. `%%` is a percent sign.
    pub fn parse(pattern: impl AsRef<Path>) -> Result<Pattern> {
        let path = pattern.as_ref();
        // Path::file_name would take "out/" and "out/." for the file "out".
        let last =
            path.as_os_str().as_encoded_bytes().rsplit(|b| b.is_ascii() && is_separator(*b as char)).next();
        if matches!(last, None | Some(b"" | b"." | b"..")) {
            let example = path.join("out_%05d.png");
            let what = if path.is_dir() { "is a folder" } else { "names a folder, and none is there" };
            return Err(failed(
                path,
                format!("this {what}; give a file in one, such as {}", example.display()),
            ));
        }
        let mut rest = path.file_name().ok_or_else(|| failed(path, "not a file name"))?;
        let wrong =
            || failed(path, "the pattern may have one number, as %d or %05d; write %% for a percent sign");
        let (mut before, mut text, mut number) = (OsString::new(), OsString::new(), Number::None);
        while let Some((plain, after)) = rest.split_once('%') {
            text.push(plain);
            if let Some(after) = after.strip_prefix('%') {
                text.push("%");
                rest = after;
                continue;
            }
            let (width, after) = after.split_once('d').ok_or_else(wrong)?;
            if number != Number::None {
                return Err(wrong());
            }
            number = Number::Free(digits(width).ok_or_else(wrong)?);
            before = std::mem::take(&mut text);
            rest = after;
        }
        text.push(rest);
        let (before, after) = if number == Number::None { (text, before) } else { (before, text) };
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Pattern { folder, before, number, after })
    }

    /// The pattern of `count` files: for more than one, `out.png` stands for `out_1.png`, `out_2.png`, …
    pub fn of(self, count: u64) -> Pattern {
        match self.number {
            Number::None if count > 1 => self.numbered_after("_", Number::Listed(count)),
            _ => self,
        }
    }

    /// The pattern of free names beside a file: `out.png` to `out_%d.png`.
    pub fn beside(path: &Path) -> Pattern {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let before = path.file_name().unwrap_or_default().to_os_string();
        Pattern { folder, before, number: Number::None, after: OsString::new() }
            .numbered_after("_", Number::Free(1))
    }

    /// The pattern of the grid that goes with this one: `out_%05d.png` to `out_grid_%05d.png`, `cat.png` to
    /// `cat_grid.png`.
    pub fn grid(mut self) -> Pattern {
        if self.number == Number::None {
            let mut grid = self.numbered_after("_grid", Number::None);
            grid.before.push(std::mem::take(&mut grid.after));
            return grid;
        }
        self.before.push("grid_");
        self
    }

    /// With a number, and `joint` before it, at the end of the name's stem.
    fn numbered_after(self, joint: &str, number: Number) -> Pattern {
        let (mut before, mut after) = match self.before.rsplit_once('.') {
            Some((stem, extension)) => {
                (stem.to_os_string(), OsString::from_iter([OsStr::new("."), extension]))
            }
            None => (self.before, OsString::new()),
        };
        before.push(joint);
        after.push(self.after);
        Pattern { folder: self.folder, before, number, after }
    }

    /// Whether names have a number of which there is always a free one.
    pub fn numbered(&self) -> bool {
        matches!(self.number, Number::Free(_))
    }

    /// The name of number `n`; the only one, where there is no number.
    pub fn name(&self, n: u64) -> PathBuf {
        let mut name = self.before.clone();
        match self.number {
            Number::None => {}
            Number::Free(digits) => name.push(format!("{n:0digits$}")),
            Number::Listed(_) => name.push(n.to_string()),
        }
        name.push(&self.after);
        self.folder.join(name)
    }

    /// The number that a run begins with: after the highest in the folder, or 1 where a run has its own. Errors where
    /// no number is left.
    pub fn first(&self) -> Result<u64> {
        match self.number {
            Number::Free(_) => self.after(self.highest()),
            _ => Ok(1),
        }
    }

    /// The number after this one.
    pub(super) fn after(&self, n: Option<u64>) -> Result<u64> {
        let next = n.map_or(Some(0), |n| n.checked_add(1));
        next.ok_or_else(|| failed(&self.name(u64::MAX), "no higher number is left; choose another pattern"))
    }

    /// The highest number that a file of a numbered pattern has.
    pub(super) fn highest(&self) -> Option<u64> {
        let number = |name: OsString| number(self.between(name.as_encoded_bytes())?);
        self.entries()?.filter_map(number).max()
    }

    /// What stands in place of the number.
    fn between<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        name.strip_prefix(self.before.as_encoded_bytes())?.strip_suffix(self.after.as_encoded_bytes())
    }

    fn entries(&self) -> Option<impl Iterator<Item = OsString>> {
        Some(fs::read_dir(folder_of(&self.folder)).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())))
    }

    /// Those of its names that are taken, unless it is numbered and passes over them. The time it takes depends on the
    /// folder, not on the number of names.
    pub fn taken(&self) -> Vec<PathBuf> {
        let there = |name: &PathBuf| name.symlink_metadata().is_ok();
        let mut names: Vec<PathBuf> = match (self.number, self.entries()) {
            (Number::Free(_), _) => Vec::new(),
            (Number::None, _) => vec![self.name(1)],
            (Number::Listed(_), Some(entries)) => {
                entries.filter_map(|e| self.number_of(&e)).map(|n| self.name(n)).collect()
            }
            (Number::Listed(count), None) => (1..=count.min(UNLISTED)).map(|n| self.name(n)).collect(),
        };
        names.retain(there);
        names.sort();
        names.dedup();
        names
    }

    /// The number with which this pattern makes a name, also where it differs in case: many file systems take both for
    /// one.
    fn number_of(&self, name: &OsStr) -> Option<u64> {
        let (name, before, after) = (fold(name), fold(&self.before), fold(&self.after));
        let n = number(name.strip_prefix(&before)?.strip_suffix(&after)?.as_bytes())?;
        let within = match self.number {
            Number::None => false,
            Number::Free(_) => true,
            Number::Listed(count) => (1..=count).contains(&n),
        };
        (within && fold(self.name(n).file_name()?) == name).then_some(n)
    }

    /// Whether it may make this very file.
    pub fn makes(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let named = match self.number {
            Number::None => fold(&self.before) == fold(name),
            _ => self.number_of(name).is_some(),
        };
        named && same_folder(&self.folder, path.parent().unwrap_or(Path::new("")))
    }

    /// Whether both may make the same file. Two numbered patterns never do, for each takes numbers that are free.
    pub fn meets(&self, other: &Pattern) -> bool {
        match (self.number, other.number) {
            (Number::Free(_), Number::Free(_)) => false,
            (Number::None, _) => other.makes(&self.name(1)),
            (_, Number::None) => self.makes(&other.name(1)),
            _ => {
                let number_apart = |a: &str, b: &str| {
                    let (long, short) = if a.len() > b.len() { (a, b) } else { (b, a) };
                    long.strip_prefix(short).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
                };
                let ends = [&self.after, &other.after].map(|a| fold(a).chars().rev().collect::<String>());
                same_folder(&self.folder, &other.folder)
                    && number_apart(&fold(&self.before), &fold(&other.before))
                    && number_apart(&ends[0], &ends[1])
            }
        }
    }
}

/// The width of `%05d`; 1 where there is none.
fn digits(width: &OsStr) -> Option<usize> {
    let width = width.to_str().filter(|w| w.bytes().all(|b| b.is_ascii_digit()))?;
    if width.is_empty() { Some(1) } else { width.parse().ok().filter(|w| *w <= 20) }
}

fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A name as file systems without case compare it.
fn fold(name: &OsStr) -> String {
    name.to_string_lossy().to_lowercase()
}

/// A name's folder as it can be opened: `.` where the name has none.
pub fn folder_of(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn same_folder(a: &Path, b: &Path) -> bool {
    let real = |folder: &Path| folder_of(folder).canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    a == b || real(a) == real(b)
}
