//! Where files go: checked before the work, named after it.

use crate::exit::Usage;
use anyhow::{Context, bail};
use calotype::image::{Pattern, write};
use std::path::{Path, PathBuf};

/// A series of files of one pattern.
pub struct Series {
    pattern: Pattern,
    overwrite: bool,
    /// The names that are left, where the pattern has no number.
    fixed: std::vec::IntoIter<PathBuf>,
}

impl Series {
    /// Prepares for `count` files: errors where the folder cannot be written to, and where a file is there already.
    pub fn new(pattern: &str, count: usize, overwrite: bool, flag: &str) -> anyhow::Result<Self> {
        if pattern.is_empty() || pattern.ends_with('/') || Path::new(pattern).is_dir() {
            return Err(Usage(format!(
                "{flag} {pattern}: this is a folder; give a file in it, such as {}",
                Path::new(pattern).join("out_%05d.png").display()
            ))
            .into());
        }
        let parsed = Pattern::parse(pattern).map_err(|e| Usage(format!("{flag} {e}")))?;
        check_folder(Path::new(pattern).parent().unwrap_or(Path::new("")), flag)?;
        let names = parsed.names(count, overwrite).with_context(|| flag.to_string())?;
        let fixed = if parsed.numbered() { Vec::new() } else { names }.into_iter();
        Ok(Self { pattern: parsed, overwrite, fixed })
    }

    /// Writes the next file, whole or not at all.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        // Numbers are looked up now: other programs may have written files meanwhile.
        let path = match self.fixed.next() {
            Some(path) => path,
            None => self.pattern.names(1, self.overwrite)?.into_iter().next().context("no name is left")?,
        };
        write(&path, bytes, self.overwrite)?;
        Ok(path)
    }
}

/// The pattern of the grid that goes with a pattern: `out_%05d.png` to `out_grid_%05d.png`, `cat.png` to
/// `cat_grid.png`.
pub fn grid_pattern(pattern: &str) -> String {
    let path = Path::new(pattern);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // A percent sign of the name itself is written twice.
    let number = name.replace("%%", "\0\0").find('%');
    let grid = match (number, name.rsplit_once('.')) {
        (Some(at), _) => format!("{}grid_{}", &name[..at], &name[at..]),
        (None, Some((stem, extension))) => format!("{stem}_grid.{extension}"),
        (None, None) => format!("{name}_grid"),
    };
    path.with_file_name(grid).to_string_lossy().into_owned()
}

/// Tries to make a file in the folder.
fn check_folder(folder: &Path, flag: &str) -> anyhow::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !folder.is_dir() {
        bail!("{flag}: the folder {} does not exist; make it first", folder.display());
    }
    let probe = folder.join(format!(".calotype.{}.probe", std::process::id()));
    let made = std::fs::File::create(&probe);
    let _ = std::fs::remove_file(&probe);
    match made {
        Ok(_) => Ok(()),
        Err(e) => bail!("{flag}: the folder {} cannot be written to ({e}); choose another", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_named_after_its_pictures() {
        assert_eq!(grid_pattern("out_%05d.png"), "out_grid_%05d.png");
        assert_eq!(grid_pattern("a/%d.png"), "a/grid_%d.png");
        assert_eq!(grid_pattern("a.b/cat.png"), "a.b/cat_grid.png");
        assert_eq!(grid_pattern("100%%_%d.png"), "100%%_grid_%d.png");
        assert_eq!(grid_pattern("cat"), "cat_grid");
    }
}
