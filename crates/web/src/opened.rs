//! A model put together of files: its configuration in memory, its weights fetched as they are asked for.

use crate::fault::{Fault, Result};
use crate::files::{Files, LentFolder};
use crate::sorted::Sorted;
use calotype_pipeline::{Hints, Model, ModelFiles, NamedLora, Role};
use calotype_weights::TextualInversion;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A model folder or a single file, some components perhaps replaced by files of their own, and LoRAs over it.
#[derive(Clone)]
pub struct Opened {
    name: String,
    /// What single files do not say is not written down in it: that is done anew for each model.
    base: ModelFiles,
    /// What stands in for a component's own, with the file that it is from.
    parts: BTreeMap<Role, (String, ModelFiles)>,
    pub hints: Hints,
    /// By name and with their scale, in order.
    pub loras: Vec<NamedLora>,
    /// Words that were added, by what prompts call them.
    pub embeddings: BTreeMap<String, Rc<TextualInversion>>,
}

impl Opened {
    fn new(name: String, base: ModelFiles) -> Self {
        let (parts, embeddings) = Default::default();
        Self { name, base, parts, hints: Hints::default(), loras: Vec::new(), embeddings }
    }

    /// A folder in the diffusers layout; of its weights `halves` are preferred, or the plain ones.
    pub async fn folder(name: String, files: Files, halves: bool) -> Result<Self> {
        let folder = LentFolder::new(files, &name);
        let files = ModelFiles::open(&folder, &name, halves.then_some("fp16")).await?;
        Ok(Self::new(name, files))
    }

    /// What files by themselves make of the model that is loaded, if one is: a model of their own, where they hold all of
    /// one; or else components in the place of its own, and LoRAs over those that it has. `merges` fetches CLIP's own
    /// where they are a model. Says whether they are not.
    pub async fn of(sorted: Sorted, loaded: Option<&Self>, files: &Files) -> Result<(Self, bool)> {
        let Sorted { mut models, loras, embeddings } = sorted;
        let is_model = |(_, files): &(_, ModelFiles)| files.has(Role::Denoiser) && files.roles().count() > 1;
        let whole: Vec<usize> = (0..models.len()).filter(|i| is_model(&models[*i])).collect();
        let base = match whole[..] {
            [first, second, ..] => {
                let [first, second] = [first, second].map(|i| &models[i].0);
                return Err(Fault::usage(format!("{first} and {second} are a model each: open one of them")));
            }
            [only] => Some(only),
            [] => in_parts(&models).or(if loaded.is_none() && !models.is_empty() { Some(0) } else { None }),
        };
        let mut opened = match (base, loaded) {
            (Some(base), _) => {
                let (_, mut model) = models.remove(base);
                model.lend_merges(&files.vocabulary().await?);
                Self::new(model.name.clone(), model)
            }
            (None, Some(loaded)) => loaded.clone(),
            (None, None) => {
                let names = loras.iter().map(|(name, _)| name).chain(embeddings.iter().map(|(name, _)| name));
                return Err(Fault::usage(format!(
                    "{}: no model, but what is added to one: load the model that it is for first, or open both together",
                    names.map(String::as_str).collect::<Vec<_>>().join(", ")
                )));
            }
        };
        for (file, part) in models {
            for role in part.roles() {
                let role = if role == Role::Text && opened.is_second(&part) { Role::Text2 } else { role };
                opened.parts.insert(role, (file.clone(), part.clone()));
            }
        }
        for (name, lora) in loras {
            opened.loras.retain(|(other, ..)| *other != name);
            opened.loras.push((name, lora, 1.0));
        }
        opened.embeddings.extend(embeddings);
        Ok((opened, base.is_none()))
    }

    /// Whether a text encoder by itself is as wide as the second of this model's, and not as the first.
    fn is_second(&self, part: &ModelFiles) -> bool {
        let width = |files: &ModelFiles, role| {
            let tensors = files.tensors(role)?;
            Some(tensors.get("text_model.final_layer_norm.bias").ok()?.shape.clone())
        };
        let own = width(part, Role::Text);
        own != width(&self.base, Role::Text) && own == width(&self.base, Role::Text2)
    }

    /// The files that stand in for its own.
    pub fn replaced(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.parts.values().map(|(file, _)| &file[..]).collect();
        names.dedup();
        names
    }

    /// What pictures' settings call it.
    pub fn call(&mut self, name: String) {
        self.name = name;
    }

    /// The model that they make.
    pub async fn model(&self) -> Result<Model> {
        let mut files = self.base.clone();
        for (role, (_, part)) in &self.parts {
            files.replace(*role, part.clone())?;
        }
        files.name = [vec![&self.name[..]], self.replaced()].concat().join(" + ");
        files.complete(self.hints).await?;
        let mut model = Model::of(&files)?;
        model.set_loras(&self.loras).await?;
        for (name, embedding) in &self.embeddings {
            model.add_embedding(name, embedding)?;
        }
        Ok(model)
    }
}

/// Of files that hold all components of a model between them, the one with the UNet.
fn in_parts(models: &[(String, ModelFiles)]) -> Option<usize> {
    let of = |role| models.iter().position(|(_, files)| files.has(role));
    of(Role::Text).and(of(Role::Vae)).and(of(Role::Denoiser))
}
