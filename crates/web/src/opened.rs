//! A model's files, opened: its configuration in memory, its weights fetched as they are asked for.

use crate::fault::{Fault, Result};
use crate::files::{Files, LentFolder};
use calotype_pipeline::{Model, ModelFiles, Role};
use calotype_weights::schemes::FileKind;
use calotype_weights::{Checkpoint, Tensors};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A model folder, some components perhaps replaced by files of their own.
pub struct Opened {
    name: String,
    files: ModelFiles,
    /// The files that stand in for a component's own.
    replaced: BTreeMap<Role, Vec<String>>,
}

impl Opened {
    /// A folder in the diffusers layout; of its weights `halves` are preferred, or the plain ones.
    pub async fn folder(name: String, files: Files, halves: bool) -> Result<Self> {
        let folder = LentFolder::new(files, &name);
        let files = ModelFiles::open(&folder, &name, halves.then_some("fp16")).await?;
        Ok(Self { name, files, replaced: BTreeMap::new() })
    }

    /// The same model with the components that `names` hold in place of its own. Which a file is for is seen by its
    /// tensors' names; several files make one component together, as a sharded checkpoint's do.
    pub async fn with_parts(&self, files: Files, names: &[String]) -> Result<Self> {
        let folder = LentFolder::new(files, "");
        let mut found: BTreeMap<Role, Checkpoint> = BTreeMap::new();
        let mut replaced = self.replaced.clone();
        for name in names {
            let part = Checkpoint::within(&folder, name).await?;
            let part = part.ok_or_else(|| Fault::model(format!("{name}: no such file")))?;
            let known = self.files.weights.iter().map(|(role, own)| (shared(own, &part), *role));
            let role = known.filter(|([names, _], _)| *names > 0).max_by_key(|(shared, _)| *shared);
            let (_, role) = role.ok_or_else(|| self.stranger(name, &part))?;
            match found.get_mut(&role) {
                Some(others) => {
                    others.join(part)?;
                    replaced.entry(role).or_default().push(name.clone());
                }
                None => {
                    found.insert(role, part);
                    replaced.insert(role, vec![name.clone()]);
                }
            }
        }
        let mut parts = Self { name: self.name.clone(), files: self.files.clone(), replaced };
        parts
            .files
            .weights
            .extend(found.into_iter().map(|(role, part)| (role, Rc::new(part) as Rc<dyn Tensors>)));
        parts.files.name = [vec![parts.name.as_str()], parts.replaced()].concat().join(" + ");
        Ok(parts)
    }

    /// The files that stand in for its own.
    pub fn replaced(&self) -> Vec<&str> {
        self.replaced.values().flatten().map(String::as_str).collect()
    }

    /// The model that they make.
    pub fn model(&self) -> Result<Model> {
        Ok(Model::of(&self.files)?)
    }

    /// Says what a file is that no component of this model knows.
    fn stranger(&self, name: &str, part: &Checkpoint) -> Fault {
        let Some(first) = part.names().first().copied() else {
            return Fault::model(format!("{name} holds no tensors"));
        };
        if FileKind::of(&part.names()) == FileKind::Lora {
            return Fault::model(format!("{name} is a LoRA, which is not supported"));
        }
        // The layout of the first release (github.com/CompVis/stable-diffusion), which A1111's web UI kept.
        let parts = ["model.diffusion_model.", "first_stage_model.", "cond_stage_model."];
        if parts.iter().any(|p| part.names().iter().any(|name| name.starts_with(p))) {
            return Fault::model(format!(
                "{name} is a whole model in one file, which is not read here: open the same model as a folder in the \
                 diffusers layout, or the files of its text_encoder, unet or vae folder"
            ));
        }
        Fault::model(format!(
            "{name} is no part of {}: none of its tensors ({first}, …) belongs to that model's text encoder, UNet or \
             VAE in the diffusers layout",
            self.name
        ))
    }
}

/// How many of a file's tensors have a name that is known in a checkpoint, and how many the shape too: two text encoders
/// differ in that alone.
fn shared(own: &dyn Tensors, part: &Checkpoint) -> [usize; 2] {
    let known: BTreeSet<&str> = own.names().into_iter().collect();
    let shape = |tensors: &dyn Tensors, name: &str| tensors.get(name).ok().map(|info| info.shape.clone());
    let named = || part.names().into_iter().filter(|name| known.contains(name));
    [named().count(), named().filter(|name| shape(own, name) == shape(part, name)).count()]
}
