//! Where files go: checked before the work, named after it.

mod apart;

pub use apart::apart;

use crate::exit::Usage;
use crate::text::{self, Stdout};
use anyhow::{Context, anyhow};
use calotype::image::{Pattern, Target, check, write, write_new, write_next};
use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What stands for standard output, and for standard input.
pub const DASH: &str = "-";

/// A series of files of one pattern.
pub struct Series {
    flag: &'static str,
    pattern: Pattern,
    overwrite: bool,
    /// The number of the next file.
    next: u64,
    /// Files that are there already and are to be replaced: their names, and where links lead.
    replaced: Vec<PathBuf>,
    stdout: bool,
}

impl Series {
    /// Prepares for `count` files: errors where they cannot be written, or are there already.
    pub fn new(path: &Path, count: u64, overwrite: bool, flag: &'static str) -> anyhow::Result<Self> {
        if is_stdout(path) {
            let why = format!(
                "{flag} {}: only one picture can go to standard output; for a file of that name write ./{DASH}",
                path.display()
            );
            return Err(Usage(why).into());
        }
        Self::of(parse(path, flag)?.of(count), count, overwrite, flag)
    }

    /// Prepares for one file, or for standard output where the path is `-`.
    pub fn one_or_stdout(
        path: &Path,
        count: u64,
        overwrite: bool,
        flag: &'static str,
    ) -> anyhow::Result<Self> {
        if !is_stdout(path) {
            return Self::new(path, count, overwrite, flag);
        }
        let wrong = |why: &str| Err(Usage(format!("{flag} {}: {why}", path.display())).into());
        match (count, std::io::stdout().is_terminal()) {
            (1, false) => {
                let pattern = Pattern::parse(DASH)?;
                Ok(Self { flag, pattern, overwrite, next: 1, replaced: Vec::new(), stdout: true })
            }
            (1, true) => {
                wrong("standard output is a terminal, which shows no picture: send it on with > or |")
            }
            _ => wrong(
                "standard output takes one picture, and this run draws more: give a pattern such as out_%05d.png",
            ),
        }
    }

    /// Prepares for the grid of the pictures of a path.
    pub fn grid(path: &Path, overwrite: bool, flag: &'static str) -> anyhow::Result<Self> {
        if is_stdout(path) {
            let why = format!("{flag}: standard output takes one picture; give --output a file's name");
            return Err(Usage(why).into());
        }
        Self::of(parse(path, flag)?.grid(), 1, overwrite, flag)
    }

    fn of(pattern: Pattern, count: u64, overwrite: bool, flag: &'static str) -> anyhow::Result<Self> {
        let context = |e: calotype::Error| anyhow!("{flag} {e}");
        let next = pattern.first().map_err(context)?;
        let mut names = pattern.taken();
        // The name that is longest tells whether all can be written.
        names.push(pattern.name(next.saturating_add(count.saturating_sub(1))));
        names.dedup();
        let mut replaced = Vec::new();
        for name in &names {
            match check(name, overwrite).map_err(context)? {
                Target::New(at) if at == *name => {}
                Target::New(at) | Target::File(at, _) => replaced.extend([name.clone(), at]),
                Target::Stream(_, what) => {
                    text::note(&format!("{flag} {}: this is {what}, which is written into", name.display()));
                }
            }
        }
        Ok(Self { flag, pattern, overwrite, next, replaced, stdout: false })
    }

    /// Writes the next file, whole or not at all. What cannot be written where it should is kept elsewhere.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let extension = if self.stdout { None } else { Some(self.pattern.name(1)) };
        let extension = extension.as_ref().map_or(Some(OsStr::new("png")), |name| name.extension());
        self.place(bytes).map_err(|e| match keep(bytes, extension) {
            Ok(kept) => e.context(format!("what could not be written is kept as {}", kept.display())),
            Err(_) => e,
        })
    }

    fn place(&mut self, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let (n, path) = (self.next, self.pattern.name(self.next));
        if self.stdout {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).map_err(Stdout)?;
            return Ok(path);
        }
        if self.pattern.numbered() {
            let (n, path) = write_next(&self.pattern, n, bytes)?;
            self.next = n.saturating_add(1);
            return Ok(path);
        }
        self.next = n.saturating_add(1);
        if self.overwrite {
            write(&path, bytes, true)?;
            return Ok(path);
        }
        if write_new(&path, bytes)? {
            return Ok(path);
        }
        let (_, beside) = write_next(&Pattern::beside(&path), 1, bytes)?;
        log::warn!(
            "{} {}: the name was taken meanwhile; written as {}",
            self.flag,
            path.display(),
            beside.display()
        );
        Ok(beside)
    }
}

/// Whether a path stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    [DASH, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path.as_os_str() == *name)
}

fn parse(path: &Path, flag: &str) -> Result<Pattern, Usage> {
    let pattern = Pattern::parse(path).map_err(|e| Usage(format!("{flag} {e}")))?;
    if path.is_dir() {
        let example = path.join("out_%05d.png");
        let why = format!("this is a folder; give a file in it, such as {}", example.display());
        return Err(Usage(format!("{flag} {}: {why}", path.display())));
    }
    Ok(pattern)
}

/// Keeps what has no other place in the system's folder for temporary files.
fn keep(bytes: &[u8], extension: Option<&OsStr>) -> anyhow::Result<PathBuf> {
    let extension = extension.map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
    let mut file = tempfile::Builder::new().prefix("calotype.").suffix(&extension).tempfile()?;
    file.write_all(bytes)?;
    Ok(file.keep().context("it cannot be kept")?.1)
}

#[cfg(test)]
mod tests;
