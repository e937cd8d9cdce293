//! A model's files, opened: its configuration in memory, its weights fetched as they are asked for.

use crate::fault::{Fault, Result};
use crate::files::Files;
use crate::remote;
use calotype_pipeline::{Defaults, Model, Role};
use calotype_weights::{Checkpoint, Tensors};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The files of a model folder that are read whole; not every model has all of them.
const SMALL: [&str; 12] = [
    "model_index.json",
    Defaults::FILE,
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
];

/// A model folder, some components perhaps replaced by files of their own.
pub struct Opened {
    name: String,
    small: Rc<HashMap<String, Vec<u8>>>,
    sources: BTreeMap<Role, Checkpoint>,
    /// The files that stand in for a component's own.
    replaced: BTreeMap<Role, Vec<String>>,
}

impl Opened {
    /// A folder in the diffusers layout.
    pub async fn folder(name: String, files: &Rc<Files>) -> Result<Self> {
        let mut small = HashMap::new();
        for path in SMALL {
            if let Some(bytes) = files.whole(path).await? {
                small.insert(path.to_string(), bytes);
            }
        }
        // The few-steps form is a LoRA: small enough to be read whole too.
        if let Some(text) = small.get(Defaults::FILE)
            && let Some(few) = Defaults::parse(Defaults::FILE, text)?.few_steps
            && let Some(bytes) = files.whole(&few.lora).await?
        {
            small.insert(few.lora, bytes);
        }
        if !small.contains_key(SMALL[0]) {
            return Err(Fault::model(format!(
                "{name}: no model_index.json. A model is a folder in the diffusers layout: model_index.json beside \
                 text_encoder, tokenizer, unet, vae and scheduler"
            )));
        }
        let mut sources = BTreeMap::new();
        for role in Role::ALL {
            sources.insert(role, remote::component(files, role.folder()).await?);
        }
        Ok(Self { name, small: Rc::new(small), sources, replaced: Default::default() })
    }

    /// The same model with the components that `names` hold in place of its own. Which a file is for is seen by its
    /// tensors' names; several files make one component together, as a sharded checkpoint's do.
    pub async fn with_parts(&self, files: &Rc<Files>, names: &[String]) -> Result<Self> {
        let mut found: BTreeMap<Role, Checkpoint> = BTreeMap::new();
        let mut replaced = self.replaced.clone();
        for name in names {
            let part = remote::file(files, name).await?;
            let known = self.sources.iter().map(|(role, own)| (shared(own, &part), *role));
            let role = known.filter(|(shared, _)| *shared > 0).max_by_key(|(shared, _)| *shared);
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
        let mut sources = self.sources.clone();
        sources.extend(found);
        Ok(Self { name: self.name.clone(), small: self.small.clone(), sources, replaced })
    }

    /// The files that stand in for its own.
    pub fn replaced(&self) -> Vec<&str> {
        self.replaced.values().flatten().map(String::as_str).collect()
    }

    /// What it is called, with those files.
    pub fn name(&self) -> String {
        [vec![self.name.as_str()], self.replaced()].concat().join(" + ")
    }

    /// Reads its configuration.
    pub fn model(&self) -> Result<Model> {
        let file = |path: &str| self.small.get(path).cloned().map(Cow::Owned);
        Ok(Model::from_sources(&self.name(), file, |role| Ok(self.sources[&role].clone()))?)
    }

    /// Says what a file is that no component of this model knows.
    fn stranger(&self, name: &str, part: &Checkpoint) -> Fault {
        let Some(first) = part.names().first().copied() else {
            return Fault::model(format!("{name} holds no tensors"));
        };
        if first.starts_with("lora_") || first.contains(".lora") {
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

/// How many of a file's tensors have a name that is known in a checkpoint.
fn shared(own: &Checkpoint, part: &Checkpoint) -> usize {
    let known: BTreeSet<&str> = own.names().into_iter().collect();
    part.names().into_iter().filter(|name| known.contains(name)).count()
}
