//! Files of one run that would meet: two outputs under one name, or an output in the place of an input.

use super::Series;
use crate::exit::Usage;
use calotype::image::folder_of;
use std::path::{Path, PathBuf};

/// Errors where two of a run's outputs may be the same file, or one would replace a file that the run reads. Inputs are
/// files or folders, with the flag that names each.
pub fn apart(outputs: &[&Series], inputs: &[(&str, &Path)]) -> Result<(), Usage> {
    for (i, a) in outputs.iter().enumerate() {
        if let Some(b) = outputs[..i].iter().find(|b| a.meets(b)) {
            let why = "both may be written to the same file; give one of them another name";
            return Err(Usage(format!("{} and {}: {why}", b.flag, a.flag)));
        }
        for (flag, input) in inputs {
            let Ok(input) = input.canonicalize() else { continue };
            // A model is not read from the pictures in its folder.
            let spared = |path: &Path| {
                input.is_dir() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"))
            };
            // By its name too: a file of the hub's cache is a link to elsewhere.
            let folder = |path: &Path| path.parent().and_then(|folder| folder_of(folder).canonicalize().ok());
            let read = |path: &Path| {
                path.canonicalize().is_ok_and(|path| path.starts_with(&input))
                    || folder(path).is_some_and(|folder| folder.starts_with(&input))
            };
            if let Some(path) = a.replaced.iter().find(|path| read(path) && !spared(path)) {
                let why = format!("{} belongs to what {flag} reads; choose another name", path.display());
                return Err(Usage(format!("{}: {why}", a.flag)));
            }
        }
    }
    Ok(())
}

impl Series {
    /// Whether both may come to the same file, by their names or by links that stand there.
    fn meets(&self, other: &Self) -> bool {
        if self.stdout || other.stdout {
            return self.stdout && other.stdout;
        }
        let linked = |a: &Self, b: &Self| {
            let in_b = |path: &PathBuf| b.pattern.makes(path) || b.replaced.contains(path);
            a.replaced.iter().any(in_b)
        };
        self.pattern.meets(&other.pattern) || linked(self, other) || linked(other, self)
    }
}
