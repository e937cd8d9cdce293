use crate::components::{Component, Components};
use crate::contents::Contents;
use crate::defaults::{Defaults, FewSteps};
use crate::error::{Error, Result};
use crate::tokenizer::{Encoded, Tokenizer, TokenizerFiles};
use calotype_graph::Graph;
use calotype_models::config::{Architecture, ModelConfig};
use calotype_models::{Role, clip, declare, unet, vae};
use calotype_sampling::SchedulerFile;
use calotype_tensor::Tensors;
use calotype_weights::{Checkpoint, Lora, Synthetic};
use std::borrow::Cow;
use std::rc::Rc;

/// A model opened for reading: its configuration, its tokenizer, and where its weights come from. Nothing is on a
/// device yet.
pub struct Model {
    /// What it is called in messages and in pictures' settings.
    pub name: String,
    /// What the folder's JSON says.
    pub config: ModelConfig,
    /// The model's own scheduler, which need not be one that is implemented.
    pub scheduler: SchedulerFile,
    /// The model's own vocabulary.
    pub tokenizer: Tokenizer,
    /// Its components, with their weights.
    pub components: Components,
    /// What the model's own `calotype.json` says of steps and guidance.
    pub defaults: Defaults,
    /// LoRAs that were added, by name, with their scale, in order.
    pub loras: Vec<(String, f32)>,
    /// Whether its weights are those of its few-steps form.
    few_steps: bool,
    /// What was added to its components.
    added: Vec<(Rc<Lora>, f32)>,
    /// What makes the few-steps form of it.
    few_steps_lora: Option<Rc<Lora>>,
}

/// The scheduler, as a Stable Diffusion pipeline loads it.
fn scheduler(config: &ModelConfig, place: &str) -> Result<SchedulerFile> {
    use calotype_sampling::Error::NotJson;
    let file = SchedulerFile::at(place, &config.index.scheduler, &config.scheduler);
    let file = file.map_err(|error| match error {
        // A file that went wrong on its way here is told from one that was written wrong.
        NotJson { file, error } => {
            Error::from(calotype_models::Error::not_json(&file, &config.scheduler, &error))
        }
        other => other.into(),
    })?;
    Ok(file.as_stable_diffusion_loads_it())
}

/// Where a model has it.
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// What a folder's `calotype.json` says, and the LoRA that it names.
type Own = (Defaults, Option<Rc<Lora>>);

/// The names that exporters give the file of a component's weights.
const WEIGHTS: [&str; 2] = ["model.safetensors", "diffusion_pytorch_model.safetensors"];

/// The components that a LoRA may change.
pub(crate) const LORA: [Role; 2] = [Role::Text, Role::Denoiser];

/// The seed of `synthetic:` models' weights.
const SYNTHETIC_SEED: u64 = 0x0ca1_07b9;

/// A component's graph, at a size that does not matter to its weights.
fn graph(role: Role, config: &ModelConfig) -> Result<Graph> {
    Ok(match role {
        Role::Text => clip::text_encoder(&config.text, 1)?,
        Role::Denoiser => unet::unet(&config.unet, 1, 8, 8, 77, 1)?,
        Role::Vae => vae::decoder(&config.vae, 8, 8)?,
    })
}

/// All components, each with the source that `open` has for it.
fn components<S: Tensors + 'static>(
    config: &ModelConfig,
    mut open: impl FnMut(Role) -> Result<S>,
) -> Result<Components> {
    let component = |role| Ok((role, Component::new(role, open(role)?, graph(role, config).ok().as_ref())));
    Ok(Components::new(Role::ALL.into_iter().map(component).collect::<Result<Vec<_>>>()?))
}

impl Model {
    /// Opens what `-m` names: a folder in the diffusers layout, or `synthetic:sd15`, `synthetic:sd21`.
    /// `variant`, such as `fp16`, is preferred among a component's files where it exists.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(place: &str, variant: Option<&str>) -> Result<Self> {
        if let Some(name) = place.strip_prefix("synthetic:") {
            let known = || Architecture::ALL.map(|p| format!("synthetic:{}", p.name())).join(", ");
            let architecture = Architecture::from_name(name)
                .ok_or_else(|| Error::Model(format!("there is no model {place}; there are {}", known())))?;
            return Self::synthetic(architecture);
        }
        Self::folder(std::path::Path::new(place), variant)
    }

    /// Opens a folder in the diffusers layout.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn folder(folder: &std::path::Path, variant: Option<&str>) -> Result<Self> {
        crate::folder::check(folder)?;
        let config = ModelConfig::open(folder)?;
        let scheduler = scheduler(&config, &folder.join(SCHEDULER).to_string_lossy())?;
        let tokenizer = Tokenizer::from_folder(folder.join("tokenizer"))?;
        let open = |role: Role| Ok(Checkpoint::open_folder(folder.join(role.folder()), variant)?);
        let components = components(&config, open)?;
        let own = match std::fs::read(folder.join(Defaults::FILE)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Own::default(),
            text => {
                let place = folder.join(Defaults::FILE);
                let text =
                    text.map_err(|error| calotype_weights::Error::Io { path: place.clone(), error })?;
                let defaults = Defaults::parse(&place.to_string_lossy(), &text)?;
                let lora = defaults.few_steps.as_ref().map(|few| Lora::open(folder.join(&few.lora)));
                (defaults, lora.transpose()?.map(Rc::new))
            }
        };
        let name =
            folder.canonicalize().ok().and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        Self::new(name.unwrap_or_else(|| "model".into()), config, scheduler, tokenizer, components, own)
    }

    /// Opens a model whose files are in memory: `file` gets a path relative to the model's folder and returns the
    /// file's bytes, where there is such a file. Each component's weights are one safetensors file.
    pub fn from_files(name: &str, file: impl Fn(&str) -> Option<Cow<'static, [u8]>>) -> Result<Self> {
        let open = |role: Role| {
            let found = WEIGHTS.map(|f| format!("{role}/{f}")).into_iter().find_map(|f| Some((file(&f)?, f)));
            let (bytes, path) = found.ok_or_else(|| {
                Error::Model(format!("{name}: {role} has no weights: neither {}", WEIGHTS.join(" nor ")))
            })?;
            Ok(Checkpoint::in_memory(format!("{name}/{path}"), bytes)?)
        };
        Self::from_sources(name, &file, open)
    }

    /// Opens a model whose JSON and vocabulary are in memory, `file` returning them as for
    /// [`from_files`](Self::from_files), and whose weights are lent by the sources that `weights` has for each component:
    /// what a browser fetches tensor by tensor.
    pub fn from_sources<S: Tensors + 'static>(
        name: &str,
        file: impl Fn(&str) -> Option<Cow<'static, [u8]>>,
        weights: impl FnMut(Role) -> Result<S>,
    ) -> Result<Self> {
        use std::io;
        let config = ModelConfig::read(name, |path| {
            let bytes = file(path).ok_or(io::ErrorKind::NotFound)?;
            String::from_utf8(bytes.into_owned()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        })?;
        let scheduler = scheduler(&config, &format!("{name}/{SCHEDULER}"))?;
        let words = |path: &str| file(&format!("tokenizer/{path}")).map(Cow::into_owned);
        let tokenizer = Tokenizer::from_bytes(&TokenizerFiles {
            tokenizer: words("tokenizer.json"),
            vocab: words("vocab.json"),
            merges: words("merges.txt"),
            config: words("tokenizer_config.json"),
            special_tokens_map: words("special_tokens_map.json"),
            added_tokens: words("added_tokens.json"),
        })?;
        let components = components(&config, weights)?;
        let mut own = Own::default();
        if let Some(text) = file(Defaults::FILE) {
            own.0 = Defaults::parse(&format!("{name}/{}", Defaults::FILE), &text)?;
            if let Some(FewSteps { lora, .. }) = &own.0.few_steps {
                let missing =
                    || Error::Model(format!("{name}: {} names {lora}, which is not there", Defaults::FILE));
                let file = Checkpoint::in_memory(format!("{name}/{lora}"), file(lora).ok_or_else(missing)?)?;
                own.1 = Some(Rc::new(Lora::new(file)?));
            }
        }
        Self::new(name.into(), config, scheduler, tokenizer, components, own)
    }

    /// A published architecture with seeded random weights, made as they are asked for.
    pub fn synthetic(architecture: Architecture) -> Result<Self> {
        let config = architecture.config()?;
        let scheduler = scheduler(&config, SCHEDULER)?;
        let tokenizer = match architecture {
            Architecture::Sd15 => Tokenizer::clip()?,
            Architecture::Sd21 => Tokenizer::clip_padded_with("!")?,
        };
        let components =
            components(&config, |role| Ok(Synthetic::new(SYNTHETIC_SEED, declare(&graph(role, &config)?))?))?;
        let name = format!("synthetic:{}", architecture.name());
        Self::new(name, config, scheduler, tokenizer, components, Own::default())
    }

    fn new(
        name: String,
        config: ModelConfig,
        scheduler: SchedulerFile,
        tokenizer: Tokenizer,
        components: Components,
        (defaults, few_steps_lora): Own,
    ) -> Result<Self> {
        let mut model = Self {
            name,
            config,
            scheduler,
            tokenizer,
            components,
            defaults,
            loras: Vec::new(),
            few_steps: false,
            added: Vec::new(),
            few_steps_lora,
        };
        // What a request that says nothing draws with.
        model.take_form(true)?;
        model.checked()
    }

    /// What the components' checkpoints hold.
    pub fn contents(&self) -> impl Iterator<Item = &Contents> {
        self.components.iter().map(|(_, component)| &component.contents)
    }

    /// Adds a LoRA, times `scale`, to the text encoder and the UNet. `name` is what pictures' settings call it.
    /// Fails, leaving the model as it is, where the LoRA has a layer that the model has not.
    pub fn add_lora(&mut self, name: impl Into<String>, lora: Lora, scale: f32) -> Result<()> {
        self.added.push((Rc::new(lora), scale));
        if let Err(error) = self.merge(self.few_steps) {
            self.added.pop();
            return Err(error);
        }
        self.loras.push((name.into(), scale));
        Ok(())
    }

    /// Has the model draw in its few-steps form, or not, where it has one. Says whether its weights are others now.
    pub fn take_form(&mut self, few_steps: bool) -> Result<bool> {
        let changes = self.few_steps_lora.is_some() && few_steps != self.few_steps;
        if changes {
            self.merge(few_steps)?;
        }
        Ok(changes)
    }

    /// The components' weights with all that is added to them.
    fn merge(&mut self, few_steps: bool) -> Result<()> {
        let mut added = self.added.clone();
        if let (true, Some(lora), Some(few)) = (few_steps, &self.few_steps_lora, &self.defaults.few_steps) {
            added.push((Rc::clone(lora), few.scale));
        }
        let mut merged = Vec::new();
        for role in LORA {
            let component = self.components.get(role);
            merged.extend(component.map(|c| Ok::<_, Error>((role, c.merged(role, &added)?))).transpose()?);
        }
        for (role, weights) in merged {
            self.components.get_mut(role).expect("it was just there").weights = weights;
        }
        self.few_steps = few_steps;
        Ok(())
    }

    /// A prompt as ids that the text encoder has.
    pub fn encode(&self, prompt: &str) -> Result<Encoded> {
        let (encoded, rows) = (self.tokenizer.encode(prompt)?, self.config.text.vocab_size);
        match encoded.ids.iter().find(|&&id| id as usize >= rows) {
            None => Ok(encoded),
            Some(&id) => Err(Error::Model(format!(
                "{}: the tokenizer gives {:?} of the prompt the id {id}, and the text encoder has rows for {rows} \
                 (vocab_size in text_encoder/config.json): take the text_encoder that was saved with this tokenizer, or \
                 leave the word out",
                self.name,
                self.tokenizer.word(id).unwrap_or_default()
            ))),
        }
    }

    /// The tokenizer must speak of ids that the text encoder has.
    fn checked(self) -> Result<Self> {
        let (words, rows) = (self.tokenizer.max_len(), self.config.text.max_position_embeddings);
        if words != rows {
            return Err(Error::Model(format!(
                "{}: tokenizer_config.json gives prompts of {words} ids (model_max_length), text_encoder/config.json \
                 {rows} (max_position_embeddings): the files belong to different models",
                self.name
            )));
        }
        let highest = self.tokenizer.bos().max(self.tokenizer.eos()).max(self.tokenizer.pad());
        if highest as usize >= self.config.text.vocab_size {
            return Err(Error::Model(format!(
                "{}: the tokenizer has an id {highest}, and the text encoder only {} (vocab_size): the files belong \
                 to different models",
                self.name, self.config.text.vocab_size
            )));
        }
        Ok(self)
    }
}
