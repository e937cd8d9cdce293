use crate::{Bytes, Checkpoint, Error, Mapped, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// File names, before the first dot, that diffusers and transformers give a component's weights.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// Endings of pickled checkpoints.
const PICKLES: [&str; 4] = [".bin", ".ckpt", ".pt", ".pth"];
/// Where several variants exist and nothing else, these come first; then the alphabet decides.
const FAVOURED: [&str; 2] = ["fp16", "bf16"];

/// The file to open for a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointFile {
    /// A `.safetensors` file, or the index of a sharded checkpoint.
    pub path: PathBuf,
    /// Whether it is an index.
    pub sharded: bool,
    /// `fp16`, `non_ema`, …; none for the plain file.
    pub variant: Option<String>,
}

impl CheckpointFile {
    /// Reads a file name: `model.safetensors`, `model.fp16.safetensors`, `model.safetensors.index.json`, and the three
    /// spellings of a sharded variant (`model.safetensors.index.fp16.json`, `model.safetensors.fp16.index.json`,
    /// `model.fp16.safetensors.index.json`). Shards themselves are none.
    fn from_name(folder: &Path, name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        parts.next().filter(|stem| STEMS.contains(stem))?;
        let parts: Vec<&str> = parts.collect();
        let variants: Vec<&str> =
            parts.iter().copied().filter(|p| !["safetensors", "index", "json"].contains(p)).collect();
        let sharded = parts.contains(&"index") && parts.last() == Some(&"json");
        let single = parts.last() == Some(&"safetensors");
        if !(parts.contains(&"safetensors") && (sharded || single)) {
            return None;
        }
        let variant = match variants[..] {
            [] => None,
            [one] if !one.contains("-of-") => Some(one.to_owned()),
            _ => return None,
        };
        Some(Self { path: folder.join(name), sharded, variant })
    }

    /// Lower is better: the preferred variant, the plain file, a favoured variant, any other; whole before sharded.
    fn rank(&self, prefer: Option<&str>) -> (usize, bool, &Self) {
        let variant = match self.variant.as_deref() {
            variant if variant.is_some() && variant == prefer => 0,
            None => 1,
            Some(v) => 2 + FAVOURED.iter().position(|f| *f == v).unwrap_or(FAVOURED.len()),
        };
        (variant, self.sharded, self)
    }
}

impl Checkpoint {
    /// Opens a component's folder, choosing as [`find_checkpoint`] does.
    pub fn open_folder(folder: impl AsRef<Path>, prefer: Option<&str>) -> Result<Self> {
        let CheckpointFile { path, sharded, .. } = find_checkpoint(folder.as_ref(), prefer)?;
        if !sharded {
            return Self::open(path);
        }
        let text = std::fs::read(&path).map_err(|error| Error::Io { path: path.clone(), error })?;
        let open = async |shard: &str| {
            let file = path.with_file_name(shard);
            if !file.is_file() {
                return Ok(None);
            }
            let bytes: Rc<dyn Bytes> = Rc::new(Mapped::open(&file)?);
            Ok(Some((file.display().to_string(), bytes)))
        };
        pollster::block_on(Self::read_index(path.display().to_string(), &text, open))
    }
}

/// Chooses the checkpoint in a component's folder: the plain one, unless only a variant is there or the caller
/// prefers a variant (`fp16`) that is.
pub fn find_checkpoint(folder: &Path, prefer: Option<&str>) -> Result<CheckpointFile> {
    choose_checkpoint(folder, &list(folder)?, prefer)
}

/// The same for a folder that may be elsewhere, whose files' names are known.
pub fn choose_checkpoint(folder: &Path, names: &[String], prefer: Option<&str>) -> Result<CheckpointFile> {
    let found = names.iter().filter_map(|name| CheckpointFile::from_name(folder, name));
    if let Some(best) = found.min_by(|a, b| a.rank(prefer).cmp(&b.rank(prefer))) {
        return Ok(best);
    }
    if let Some(file) = names.iter().find(|name| PICKLES.iter().any(|ending| name.ends_with(ending))) {
        return Err(Error::NeedsSafetensors { folder: folder.into(), file: file.clone() });
    }
    let [diffusers, transformers] = STEMS;
    Err(Error::NoWeights {
        folder: folder.into(),
        wanted: format!(
            "{diffusers}.safetensors or {transformers}.safetensors, their variants (….fp16.safetensors) \
             and indices (….safetensors.index.json)"
        ),
        found: match names {
            [] => "an empty folder".into(),
            some => some.join(", "),
        },
    })
}

/// The file names in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>> {
    let io = |error| Error::Io { path: folder.into(), error };
    if !folder.is_dir() {
        return Err(Error::NoFolder(folder.into()));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str], prefer: Option<&str>) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        find_checkpoint(folder.path(), prefer)
            .map(|c| c.path.file_name().unwrap().to_string_lossy().into_owned())
    }

    #[test]
    fn the_plain_file_wins_unless_a_variant_is_preferred_or_alone() {
        let both = ["model.safetensors", "model.fp16.safetensors", "config.json"];
        assert_eq!(choose(&both, None).unwrap(), both[0]);
        assert_eq!(choose(&both, Some("fp16")).unwrap(), both[1]);
        assert_eq!(choose(&both, Some("bf16")).unwrap(), both[0]);
        assert_eq!(choose(&both[1..], None).unwrap(), both[1]);

        let hub = ["diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.fp16.safetensors"];
        assert_eq!(choose(&hub, None).unwrap(), hub[1]);
        assert_eq!(choose(&hub[..1], None).unwrap(), hub[0]);
    }

    #[test]
    fn an_index_is_found_in_every_spelling_and_a_shard_is_no_checkpoint() {
        let shards = ["model-00001-of-00002.safetensors", "model.fp16-00001-of-00002.safetensors"];
        for index in [
            "model.safetensors.index.json",
            "model.safetensors.index.fp16.json",
            "model.safetensors.fp16.index.json",
            "model.fp16.safetensors.index.json",
        ] {
            assert_eq!(choose(&[shards[0], shards[1], index], None).unwrap(), index);
        }
        let error = choose(&shards, None).unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains(shards[0]), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = choose(&["diffusion_pytorch_model.bin", "config.json"], None).unwrap_err().to_string();
        assert!(
            error.contains("diffusion_pytorch_model.bin") && error.contains("safe_serialization"),
            "{error}"
        );
        let error = choose(&["config.json"], None).unwrap_err().to_string();
        assert!(error.contains("found config.json") && error.contains("model.safetensors"), "{error}");
        assert!(choose(&[], None).unwrap_err().to_string().contains("empty folder"));
        let error = find_checkpoint(Path::new("no/such/folder"), None).unwrap_err().to_string();
        assert!(error.contains("no such folder") && !error.contains('\n'), "{error}");
    }
}
