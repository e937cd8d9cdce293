//! Files by themselves, told apart by what their tensors are called.

use crate::fault::{Fault, Result};
use crate::files::LentFolder;
use calotype_pipeline::{Lora, ModelFiles, lora_name};
use calotype_weights::schemes::FileKind;
use calotype_weights::{Checkpoint, Tensors, TextualInversion};
use std::path::Path;
use std::rc::Rc;

/// What diffusers calls every embedding's file: the word is in it.
const UNNAMED: &str = "learned_embeds";

/// What some files are.
#[derive(Default)]
pub struct Sorted {
    /// Whole models and components of one, each with its file's name.
    pub models: Vec<(String, ModelFiles)>,
    /// LoRAs, each with its name.
    pub loras: Vec<(String, Rc<Lora>)>,
    /// Words with vectors of their own, by what prompts call them.
    pub embeddings: Vec<(String, Rc<TextualInversion>)>,
}

impl Sorted {
    /// Opens files of `folder`: what they say of themselves is read, and no more. Shards of one checkpoint are one.
    pub async fn of(folder: &LentFolder, names: &[String]) -> Result<Self> {
        let mut sorted = Self::default();
        let mut rest = names;
        while let [name, ..] = rest {
            let (shards, later) = rest.split_at(rest.iter().take_while(|other| of_one(name, other)).count());
            rest = later;
            let mut checkpoint = open(folder, name).await?;
            for shard in &shards[1..] {
                checkpoint.join(open(folder, shard).await?)?;
            }
            sorted.put(folder, name, checkpoint).await?;
        }
        Ok(sorted)
    }

    async fn put(&mut self, folder: &LentFolder, name: &str, checkpoint: Checkpoint) -> Result<()> {
        let path = Path::new(name);
        let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
        match FileKind::of(&checkpoint.names()) {
            FileKind::Lora => {
                // Once more, for PEFT's file beside it.
                let lora = Lora::within(folder, name).await?.ok_or_else(|| gone(name))?;
                self.loras.push((lora_name(path), Rc::new(lora)));
            }
            FileKind::Embedding => {
                let embedding = TextualInversion::read(&checkpoint).await?;
                let own = embedding.word.clone().filter(|_| stem == UNNAMED);
                self.embeddings.push((own.unwrap_or_else(|| stem.into()), Rc::new(embedding)));
            }
            _ => self.models.push((name.into(), ModelFiles::of_checkpoint(stem, checkpoint)?)),
        }
        Ok(())
    }
}

async fn open(folder: &LentFolder, name: &str) -> Result<Checkpoint> {
    Checkpoint::within(folder, name).await?.ok_or_else(|| gone(name))
}

fn gone(name: &str) -> Fault {
    Fault::model(format!("{name}: no such file"))
}

/// Whether two names are of one file, or of two shards of one checkpoint: `model-00001-of-00002.safetensors`.
fn of_one(first: &str, second: &str) -> bool {
    let split = |name: &str| {
        let (stem, count) = name.rsplit_once("-of-")?;
        Some((stem.rsplit_once('-')?.0.to_owned(), count.to_owned()))
    };
    first == second || split(first).is_some_and(|of| Some(of) == split(second))
}
