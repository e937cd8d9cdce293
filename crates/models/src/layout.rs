//! What a model consists of, in the diffusers layout: the one list of its files, and which of several are preferred.

use crate::Role;
use calotype_weights::{Checkpoint, Error, Folder, Result};
use std::path::Path;

/// Which pipeline the folder holds, and the class of each component.
pub const INDEX: &str = "model_index.json";
/// The model's own scheduler.
pub const SCHEDULER: &str = "scheduler/scheduler_config.json";
/// What a model's owner says of it, its licence among it, in the first lines of a page for people.
pub const CARD: &str = "README.md";
/// Calotype's own file beside them, which may name LoRAs.
pub const DEFAULTS: &str = "calotype.json";

/// What a component is, by its folder.
pub const fn config(role: Role) -> &'static str {
    match role {
        Role::Text => "text_encoder/config.json",
        Role::Text2 => "text_encoder_2/config.json",
        Role::Denoiser => "unet/config.json",
        Role::Vae => "vae/config.json",
    }
}

/// What every model has besides its weights and its words, but for the configurations of text encoders, of which it has
/// some.
pub const CONFIGURATION: [&str; 4] = [INDEX, SCHEDULER, config(Role::Denoiser), config(Role::Vae)];

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $file:literal,)*) => {
        /// A tokenizer's files, by their names in its folder.
        pub mod words {
            use crate::Role;

            $($(#[$doc])* pub const $name: &str = $file;)*

            /// The folder of a text encoder's tokenizer.
            pub const fn folder(encoder: Role) -> &'static str {
                match encoder {
                    Role::Text2 => "tokenizer_2",
                    _ => "tokenizer",
                }
            }

            /// A file's path in the model's folder.
            pub fn path(encoder: Role, name: &str) -> String {
                format!("{}/{name}", folder(encoder))
            }
        }

        /// What may be there: the text encoders, the vocabularies in either form, words that were added to them, and
        /// Calotype's own defaults.
        pub const OPTIONAL: &[&str] = &[
            config(Role::Text), $(concat!("tokenizer/", $file),)*
            config(Role::Text2), $(concat!("tokenizer_2/", $file),)*
            DEFAULTS,
        ];
    };
}
words! {
    /// Ids by token.
    VOCABULARY = "vocab.json",
    /// Pairs of tokens that become one, best first.
    MERGES = "merges.txt",
    /// What the tokenizer does besides.
    SETTINGS = "tokenizer_config.json",
    /// Which tokens are special.
    SPECIAL = "special_tokens_map.json",
    /// All of it in one file, which goes before the vocabulary and the merges.
    WHOLE = "tokenizer.json",
    /// Words that were added, before transformers 4.34.
    ADDED = "added_tokens.json",
}

/// Every file that is read whole.
pub fn small() -> impl Iterator<Item = &'static str> {
    CONFIGURATION.iter().chain(OPTIONAL).copied()
}

/// File names, before the first dot and behind the last one, that diffusers and transformers give a component's weights.
const NAMES: [(&str, &str); 4] = [
    ("diffusion_pytorch_model", SAFETENSORS),
    ("model", SAFETENSORS),
    ("diffusion_pytorch_model", PICKLE),
    ("pytorch_model", PICKLE),
];
const SAFETENSORS: &str = "safetensors";
const PICKLE: &str = "bin";
/// Whether a path ends as files of weights do.
pub fn is_weights(path: &str) -> bool {
    const ENDINGS: [&str; 7] = [SAFETENSORS, "ckpt", "pt", "pth", PICKLE, "gguf", "h5"];
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
}

/// What a component's weights are called where a model is saved, in its folder.
pub fn weights(role: Role) -> String {
    let (stem, ending) = NAMES[usize::from(role.folder().starts_with(Role::Text.folder()))];
    format!("{stem}.{ending}")
}

/// Where several variants exist and nothing else, these come first; then the alphabet decides.
const FAVOURED: [&str; 2] = ["fp16", "bf16"];

/// The file to open for a component's weights.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointFile {
    /// Its name: a `.safetensors` or `.bin` file, or the index of a sharded checkpoint.
    pub name: String,
    /// Whether it is an index.
    pub sharded: bool,
    /// Whether it is pickled, `.bin`: what there was before safetensors.
    pub pickled: bool,
    /// `fp16`, `non_ema`, …; none for the plain file.
    pub variant: Option<String>,
}

impl CheckpointFile {
    /// Reads a file name: `model.safetensors`, `model.fp16.safetensors`, `model.safetensors.index.json`, and the three
    /// spellings of a sharded variant (`model.safetensors.index.fp16.json`, `model.safetensors.fp16.index.json`,
    /// `model.fp16.safetensors.index.json`); the same of `pytorch_model.bin`. Shards themselves are none.
    fn from_name(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let stem = parts.next()?;
        let parts: Vec<&str> = parts.collect();
        let (_, ending) = NAMES.into_iter().find(|(of, ending)| *of == stem && parts.contains(ending))?;
        let variants: Vec<&str> =
            parts.iter().copied().filter(|p| ![ending, "index", "json"].contains(p)).collect();
        let sharded = parts.contains(&"index") && parts.last() == Some(&"json");
        if !sharded && parts.last() != Some(&ending) {
            return None;
        }
        let variant = match variants[..] {
            [] => None,
            [one] if !one.contains("-of-") => Some(one.to_owned()),
            _ => return None,
        };
        Some(Self { name: name.into(), sharded, pickled: ending == PICKLE, variant })
    }

    /// Lower is better: the preferred variant, the plain file, a favoured variant, any other; safetensors before pickles,
    /// as in diffusers; whole before sharded.
    fn rank(&self, prefer: Option<&str>) -> (usize, bool, bool, &Self) {
        let variant = match self.variant.as_deref() {
            variant if variant.is_some() && variant == prefer => 0,
            None => 1,
            Some(v) => 2 + FAVOURED.iter().position(|f| *f == v).unwrap_or(FAVOURED.len()),
        };
        (variant, self.pickled, self.sharded, self)
    }

    /// The shards of an index among its folder's files, `….fp16-00001-of-00002.safetensors`; none where the set is not whole.
    pub fn shards<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let ending = if self.pickled { ".bin" } else { ".safetensors" };
        let number = |file: &'a str| {
            let (stem, rest) = file.strip_suffix(ending)?.rsplit_once("-of-")?;
            let (stem, _) = stem.rsplit_once('-')?;
            let of = stem.split_once('.').map(|(_, variant)| variant);
            rest.parse::<usize>().ok().filter(|_| of == self.variant.as_deref())
        };
        let found: Vec<(&str, usize)> =
            names.iter().filter_map(|file| Some((&**file, number(file)?))).collect();
        match found.first() {
            Some((_, count)) if found.len() == *count => found.into_iter().map(|(file, _)| file).collect(),
            _ => Vec::new(),
        }
    }
}

/// Chooses the checkpoint among the files of a component's folder, which errors call `folder`: the plain one, unless only
/// a variant is there or the caller prefers a variant (`fp16`) that is.
pub fn choose(folder: &str, names: &[String], prefer: Option<&str>) -> Result<CheckpointFile> {
    let found = names.iter().filter_map(|name| CheckpointFile::from_name(name));
    if let Some(best) = found.min_by(|a, b| a.rank(prefer).cmp(&b.rank(prefer))) {
        return Ok(best);
    }
    let [diffusers, transformers, pickles @ ..] = NAMES.map(|(stem, ending)| format!("{stem}.{ending}"));
    Err(Error::NoWeights {
        folder: Path::new(folder).into(),
        wanted: format!(
            "{diffusers} or {transformers}, their variants (….fp16.safetensors) and indices \
             (….safetensors.index.json), {}",
            pickles.join(", ")
        ),
        found: match names {
            [] => "no file".into(),
            some => some.join(", "),
        },
    })
}

/// The names to ask for, best first, where nobody tells which files there are: in a page. Pickles are not asked for.
fn usual(prefer: Option<&str>) -> Vec<String> {
    let variants = FAVOURED.iter().map(|v| format!(".{v}")).chain([String::new()]);
    let names = variants.flat_map(|v| {
        [NAMES[0].0, NAMES[1].0].map(|stem| {
            let index = v.strip_prefix('.').map_or("json".into(), |v| format!("{v}.json"));
            [format!("{stem}{v}.safetensors"), format!("{stem}.safetensors.index.{index}")]
        })
    });
    let mut files: Vec<CheckpointFile> =
        names.flatten().filter_map(|name| CheckpointFile::from_name(&name)).collect();
    files.sort_by(|a, b| a.rank(prefer).cmp(&b.rank(prefer)));
    files.into_iter().map(|file| file.name).collect()
}

/// Opens a component's checkpoint in a model's folder; `prefer` is a variant as for [`choose`].
pub async fn checkpoint(folder: &dyn Folder, role: Role, prefer: Option<&str>) -> Result<Checkpoint> {
    let (own, place) = (role.folder(), folder.place(role.folder()));
    let names = match folder.list(own).await? {
        Some(names) => names,
        None => {
            for name in usual(prefer) {
                if let Some(found) = Checkpoint::within(folder, &format!("{own}/{name}")).await? {
                    return Ok(found);
                }
            }
            Vec::new()
        }
    };
    let CheckpointFile { name, .. } = choose(&place, &names, prefer)?;
    let found = Checkpoint::within(folder, &format!("{own}/{name}")).await?;
    let gone =
        || Error::NoWeights { folder: Path::new(&place).into(), wanted: name, found: "it gone".into() };
    found.ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str], prefer: Option<&str>) -> Result<String> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        super::choose("m/unet", &names, prefer).map(|file| file.name)
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
    fn pickles_are_taken_where_there_is_nothing_newer() {
        let names = ["pytorch_model.bin", "model.safetensors", "pytorch_model.fp16.bin"];
        assert_eq!(choose(&names, None).unwrap(), names[1]);
        assert_eq!(choose(&names, Some("fp16")).unwrap(), names[2]);
        assert_eq!(choose(&[names[0], names[2]], None).unwrap(), names[0]);
        let diffusers = "diffusion_pytorch_model.bin";
        assert_eq!(choose(&[diffusers, "optimizer.bin"], None).unwrap(), diffusers);
        let index = "pytorch_model.bin.index.json";
        assert_eq!(choose(&[index, "pytorch_model-00001-of-00002.bin"], None).unwrap(), index);
        assert!(choose(&["model.bin", "pytorch_model.safetensors", "model.safetensors.md"], None).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = choose(&["config.json"], None).unwrap_err().to_string();
        assert!(error.contains("found config.json") && error.contains("model.safetensors"), "{error}");
        assert!(choose(&[], None).unwrap_err().to_string().contains("found no file"));
    }

    #[test]
    fn what_is_asked_for_one_by_one_is_what_would_be_chosen() {
        for prefer in [None, Some("fp16"), Some("bf16")] {
            let mut names = usual(prefer);
            while !names.is_empty() {
                let mut shuffled = names.clone();
                shuffled.sort();
                assert_eq!(super::choose("", &shuffled, prefer).unwrap().name, names[0], "{prefer:?}");
                names.remove(0);
            }
        }
        assert_eq!(usual(Some("fp16"))[0], "diffusion_pytorch_model.fp16.safetensors");
        assert_eq!(usual(None)[1], "model.safetensors");
    }
}
