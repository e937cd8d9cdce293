//! Words with vectors of their own (textual inversion: Gal et al. 2022, arXiv:2208.01618), in the files of all trainers.

mod json;

use crate::patches::{Family, Lora, decode};
use crate::schemes::FileKind;
use crate::{Checkpoint, Error, Result};
use calotype_tensor::Tensors;

/// A word that was learned, as a row or several of a text encoder's table.
///
/// Read are AUTOMATIC1111's `.pt` (`string_to_param`), diffusers' `learned_embeds` (one tensor, called as the word), kohya's
/// (`emb_params`), and those of SDXL (`clip_l` and `clip_g`), as safetensors or as pickles.
#[derive(Clone, Debug)]
pub struct TextualInversion {
    place: String,
    /// The word that it was trained as, where the file says.
    pub word: Option<String>,
    /// How many steps it was trained, where the file says.
    pub step: Option<u64>,
    /// The model that it was trained with, where the file says.
    pub trained_with: Option<String>,
    /// Its vectors, for each text encoder.
    pub towers: Vec<Vectors>,
}

/// Vectors for one text encoder.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Which one.
    pub tower: Tower,
    /// Numbers of a vector.
    pub width: usize,
    /// One vector after another.
    pub values: Vec<f32>,
}

/// A text encoder that vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// The only one, of a model that has no other.
    Only,
    /// The first of SDXL's two.
    L,
    /// The second.
    G,
}

/// A name of a tensor, as what it is.
enum Named<'a> {
    Vectors(Tower, Option<&'a str>),
    /// Ids of AUTOMATIC1111's, which count for nothing.
    Aside,
    Other,
}

fn named(name: &str) -> Named<'_> {
    let last = name.rsplit('.').next().unwrap_or(name);
    match (name.split_once('.').map_or(name, |(first, _)| first), last) {
        ("string_to_param", word) => {
            Named::Vectors(Tower::Only, Some(word).filter(|word| !["*", "string_to_param"].contains(word)))
        }
        ("string_to_token", _) => Named::Aside,
        (_, "emb_params") => Named::Vectors(Tower::Only, None),
        (_, "clip_l") => Named::Vectors(Tower::L, None),
        (_, "clip_g") => Named::Vectors(Tower::G, None),
        _ => Named::Other,
    }
}

impl TextualInversion {
    /// Reads a file's vectors. Fails where they are of no word, or of several.
    pub async fn read(file: &Checkpoint) -> Result<Self> {
        let mut embedding = Self::within(file, "").await?;
        let said = |key: &str| file.said().get(key).filter(|text| !text.is_empty());
        embedding.word = said("name").cloned().or(embedding.word);
        embedding.step = said("step").and_then(|step| step.parse().ok());
        embedding.trained_with = said("sd_checkpoint_name").cloned();
        Ok(embedding)
    }

    /// Reads those that a LoRA brings in its file, each with the name that prompts have for it, in the names' order.
    pub async fn brought_by(lora: &Lora) -> Result<Vec<(String, Self)>> {
        let mut found = Vec::new();
        for name in lora.words() {
            let (file, prefix) = lora.word(name);
            found.push((name.to_owned(), Self::within(file, &prefix).await?));
        }
        Ok(found)
    }

    /// Reads the vectors of the tensors whose names begin with this.
    async fn within(file: &(impl Tensors + ?Sized), prefix: &str) -> Result<Self> {
        let place = match prefix {
            "" => file.describe(""),
            _ => format!("{}, {}", file.describe(""), prefix.trim_end_matches('.')),
        };
        let all = file.names();
        let names: Vec<&str> = all.iter().filter_map(|name| name.strip_prefix(prefix)).collect();
        let bad = |why: String| Error::Embedding { place: place.clone(), why };
        let mut found: Vec<(Tower, &str, Option<&str>)> = Vec::new();
        let mut others: Vec<&str> = Vec::new();
        for name in names.iter().copied() {
            match named(name) {
                Named::Vectors(tower, word) => found.push((tower, name, word)),
                Named::Aside => {}
                Named::Other => others.push(name),
            }
        }
        // A single tensor is called as its word.
        if let ([], [only]) = (&found[..], &others[..])
            && FileKind::of(&[*only]) == FileKind::Embedding
        {
            found.push((Tower::Only, only, Some(*only).filter(|word| !word.is_empty())));
            others.clear();
        }
        if found.is_empty() {
            return Err(bad(format!("it is {}", FileKind::of(&names).words())));
        }
        for (i, (tower, name, _)) in found.iter().enumerate() {
            if let Some((_, other, _)) = found[..i].iter().find(|(known, ..)| known == tower) {
                return Err(bad(format!("it holds {other} and {name}: save each word in a file of its own")));
            }
        }
        if let Some(other) = others.first() {
            log::warn!("{place}: {} of its tensors are not used, first {other}", others.len());
        }
        let word = found.iter().find_map(|(.., word)| word.map(String::from));
        let mut embedding =
            Self { word, step: None, trained_with: None, place: place.clone(), towers: Vec::new() };
        for (tower, name, _) in found {
            embedding.towers.push(vectors(file, tower, &format!("{prefix}{name}")).await?);
        }
        let counts: Vec<usize> = embedding.towers.iter().map(Vectors::count).collect();
        match counts.iter().all(|count| *count == counts[0]) {
            true => Ok(embedding),
            false => {
                Err(bad(format!("it holds {counts:?} vectors for its text encoders: download it again")))
            }
        }
    }

    /// Opens a file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        pollster::block_on(Self::read(&Checkpoint::open(path)?))
    }

    /// Its file.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many vectors the word has for each text encoder.
    pub fn count(&self) -> usize {
        self.towers.first().map_or(0, Vectors::count)
    }

    /// The family of models that it is for, where its width is one of the published ones.
    pub fn family(&self) -> Option<String> {
        let widths: Vec<(Tower, usize)> = self.towers.iter().map(|v| (v.tower, v.width)).collect();
        let family = match widths[..] {
            [(Tower::Only, width)] => Family::by_text(width)?,
            [(Tower::G, 1280)] => Family::Refiner,
            [(Tower::L, 768)] => Family::Sd1,
            [_, _] => Family::Sdxl,
            _ => return None,
        };
        Some(family.to_string())
    }

    /// Its vectors' widths, for messages.
    pub fn widths(&self) -> String {
        let widths: Vec<String> = self.towers.iter().map(|v| v.width.to_string()).collect();
        format!("{} wide", widths.join(" and "))
    }
}

impl Vectors {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }
}

async fn vectors(file: &(impl Tensors + ?Sized), tower: Tower, name: &str) -> Result<Vectors> {
    let bad =
        |why: String| Error::Embedding { place: file.describe(name), why: format!("tensor {name} {why}") };
    let shape = &file.get(name)?.shape;
    let Some(width) = shape.last().copied().filter(|_| shape.iter().all(|side| *side > 0)) else {
        return Err(bad(format!("has shape {shape:?}, and a word has vectors [N, width]")));
    };
    let values = decode(file, name).await?;
    match values.iter().filter(|v| !v.is_finite()).count() {
        0 => Ok(Vectors { tower, width, values }),
        count => {
            Err(bad(format!("holds {count} values that are not finite (NaN or infinity): download it again")))
        }
    }
}
