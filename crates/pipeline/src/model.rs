use crate::components::{Component, Components};
use crate::contents::Contents;
use crate::control::ControlNet;
use crate::defaults::Defaults;
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::files::{ModelFiles, scheduler};
use crate::recipe::Recipe;
#[cfg(not(target_arch = "wasm32"))]
use crate::single::Hints;
use crate::tokenizer::{Encoded, Tokenizer};
use calotype_field::Field;
use calotype_graph::{Graph, Precision, Quant};
use calotype_models::config::{Architecture, ModelConfig, TextEncoder};
use calotype_models::layout::{self, words};
use calotype_models::taesd::TinyDecoder;
use calotype_models::{Role, clip, declare, unet, vae};
use calotype_sampling::SchedulerFile;
use calotype_tensor::Tensors;
#[cfg(not(target_arch = "wasm32"))]
use calotype_weights::MemoryFolder;
use calotype_weights::{Lora, Synthetic};
#[cfg(not(target_arch = "wasm32"))]
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// The text encoders' own vocabularies.
    pub tokenizers: Tokenizers,
    /// Its components, with their weights.
    pub components: Components,
    /// What the model's own `calotype.json` says of steps and guidance.
    pub defaults: Defaults,
    /// What goes on with the pictures that it has begun.
    pub refiner: Option<Box<Model>>,
    /// Nets that steer it by pictures, in the order in which they were added.
    pub controls: Vec<ControlNet>,
    /// LoRAs that were added, by name, with their scale, in order.
    pub loras: Vec<(String, f32)>,
    /// Which of its matrices a device holds in blocks. To be settled before a pipeline is made of it.
    pub quant: Quant,
    /// Whether its weights are those of its few-steps form.
    few_steps: bool,
    /// What decodes pictures in the VAE's place, where something does.
    pub(crate) tiny: Option<TinyDecoder>,
    /// Words that were added, with vectors of their own.
    pub(crate) embeddings: Embeddings,
    /// What was added to its components.
    pub(crate) added: Vec<(Rc<Lora>, f32)>,
    /// As what it is drawn, where its own files tell that it is one of few steps.
    pub(crate) own_recipe: Option<Recipe>,
    /// What makes the few-steps form of it.
    few_steps_lora: Option<Rc<Lora>>,
}

/// The components that a LoRA may change.
pub(crate) const LORA: [Role; 3] = [Role::Text, Role::Text2, Role::Denoiser];

/// What each text encoder reads prompts with.
pub type Tokenizers = BTreeMap<Role, Tokenizer>;

/// The seed of `synthetic:` models' weights.
const SYNTHETIC_SEED: u64 = 0x0ca1_07b9;

/// A component's graph, all of it, at a size that does not matter to its weights.
fn graph(role: Role, config: &ModelConfig) -> Result<Graph> {
    Ok(match role {
        Role::Text | Role::Text2 => {
            let encoder = config.text(role).expect("the model has the component");
            clip::text_encoder(&TextEncoder { penultimate: false, ..encoder.clone() }, 1)?
        }
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
    Ok(Components::new(config.roles().map(component).collect::<Result<Vec<_>>>()?))
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
        Self::at_path(std::path::Path::new(place), variant)
    }

    /// Opens a folder in the diffusers layout, or a single file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn at_path(path: &std::path::Path, variant: Option<&str>) -> Result<Self> {
        let mut files = ModelFiles::at_path(path, variant)?;
        pollster::block_on(files.complete(Hints::default()))?;
        Self::of(&files)
    }

    /// Opens a model whose files are in memory, each with its path in the model's folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn in_memory<P: Into<String>, B: Into<Cow<'static, [u8]>>>(
        name: &str,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<Self> {
        let files = MemoryFolder::new(name, files);
        Self::of(&pollster::block_on(ModelFiles::open(&files, name, None))?)
    }

    /// A model of its files.
    pub fn of(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let scheduler = files.scheduler(&config)?;
        let tokenizer = |role: &Role| Ok((*role, files.tokenizer(*role)?));
        let tokenizers = config.index.texts.iter().map(tokenizer).collect::<Result<_>>()?;
        let components = components(&config, |role| Ok(files.weights[&role].clone()))?;
        let own = (files.defaults(&config)?, files.few_steps(), files.recipe(&config));
        Self::new(files.name.clone(), config, scheduler, tokenizers, components, own)
    }

    /// A published architecture with seeded random weights, made as they are asked for.
    pub fn synthetic(architecture: Architecture) -> Result<Self> {
        let config = architecture.config()?;
        let scheduler = scheduler(&config, layout::SCHEDULER)?;
        let tokenizer = |role: &Role| {
            let padding = architecture.padding(*role);
            Ok((*role, Tokenizer::clip_padded_with(padding.as_deref().unwrap_or(Tokenizer::END))?))
        };
        let tokenizers = config.index.texts.iter().map(tokenizer).collect::<Result<_>>()?;
        let components =
            components(&config, |role| Ok(Synthetic::new(SYNTHETIC_SEED, declare(&graph(role, &config)?))?))?;
        let name = format!("synthetic:{}", architecture.name());
        let defaults = Defaults::of(&config);
        let recipe = Recipe::of_model(&name, |_| None).map(Recipe::by_its_own);
        Self::new(name, config, scheduler, tokenizers, components, (defaults, None, recipe))
    }

    fn new(
        name: String,
        config: ModelConfig,
        scheduler: SchedulerFile,
        tokenizers: Tokenizers,
        components: Components,
        (defaults, few_steps_lora, own_recipe): (Defaults, Option<Rc<Lora>>, Option<Recipe>),
    ) -> Result<Self> {
        let mut model = Self {
            name,
            config,
            scheduler,
            tokenizers,
            components,
            defaults,
            refiner: None,
            controls: Vec::new(),
            loras: Vec::new(),
            quant: Quant::default(),
            few_steps: false,
            tiny: None,
            embeddings: Embeddings::default(),
            added: Vec::new(),
            own_recipe,
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

    /// How the VAE decoder's activations are stored: as all are, unless the model says that f16 does not hold them.
    pub fn decoder_precision(&self, precision: Precision) -> Precision {
        let upcasts = self.config.index.penultimate && self.config.vae.force_upcast && self.tiny.is_none();
        if upcasts { Precision::F32 } else { precision }
    }

    /// Has another model go on with the pictures that this one has begun: SDXL's refiner, or any other of its family.
    pub fn refine_with(&mut self, refiner: Model) -> Result<()> {
        let bad = |why: String| {
            let field = Field::Refiner;
            Err(Error::request(field, format!("{field} {}: {why}, or leave it out", refiner.name)))
        };
        if !self.config.index.penultimate {
            return bad(format!(
                "{} is no Stable Diffusion XL, which alone has refiners: give one",
                self.name
            ));
        }
        if !refiner.config.index.penultimate {
            return bad("no Stable Diffusion XL, nor its refiner: give one".into());
        }
        let of = |model: &Self| {
            let vae = &model.config.vae;
            (vae.latent_channels, vae.factor(), vae.scaling_factor, vae.latents.clone())
        };
        if of(self) != of(&refiner) {
            return bad(format!("its latents are not {}'s: give one of the same", self.name));
        }
        self.refiner = Some(Box::new(refiner));
        Ok(())
    }

    /// As what it is drawn where it is one of few steps, or a LoRA makes it one: the one that was laid over it last.
    pub fn recipe(&self) -> Option<Recipe> {
        let loras = self.loras.iter().zip(&self.added).rev().filter(|((_, scale), _)| *scale > 0.0);
        let mut told =
            loras.filter_map(|((name, _), (lora, _))| Recipe::of_lora(name, |key| lora.metadata(key)));
        told.next().or_else(|| self.own_recipe.clone())
    }

    /// Steps, guidance and scheduler of a request that says nothing.
    pub fn drawn_with(&self) -> (Defaults, SchedulerFile) {
        match self.recipe() {
            Some(recipe) => (recipe.over(&self.defaults), recipe.scheduler(&self.scheduler)),
            None => (self.defaults.clone(), self.scheduler.clone()),
        }
    }

    /// The model itself, or its refiner.
    pub(crate) fn of_two(&self, refines: bool) -> &Self {
        match &self.refiner {
            Some(refiner) if refines => refiner,
            _ => self,
        }
    }

    /// Lays a LoRA, times `scale`, over the text encoders and the UNet, and over the LoRAs that were added before. `name` is
    /// what pictures' settings call it. Fails, leaving the model as it is, where the LoRA is for another. Words that it brings
    /// come by [`add_words`](Self::add_words).
    pub fn add_lora(&mut self, name: impl Into<String>, lora: impl Into<Rc<Lora>>, scale: f32) -> Result<()> {
        self.added.push((lora.into(), scale));
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

    /// LoRAs, and what makes the few-steps form, where it is to be that.
    fn in_form(&self, loras: &[(Rc<Lora>, f32)], few_steps: bool) -> Vec<(Rc<Lora>, f32)> {
        let mut added = loras.to_vec();
        if let (true, Some(lora), Some(few)) = (few_steps, &self.few_steps_lora, &self.defaults.few_steps) {
            added.push((Rc::clone(lora), few.scale));
        }
        added
    }

    /// All that is laid over its components, with these LoRAs.
    pub(crate) fn laid_over(&self, loras: &[(Rc<Lora>, f32)]) -> Vec<(Rc<Lora>, f32)> {
        self.in_form(loras, self.few_steps)
    }

    /// Lays what was added over the components anew.
    pub(crate) fn merge_again(&mut self) -> Result<()> {
        self.merge(self.few_steps)
    }

    /// The components' weights with all that is added to them.
    fn merge(&mut self, few_steps: bool) -> Result<()> {
        let added = self.in_form(&self.added, few_steps);
        self.components.check(&added)?;
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

    /// What a prompt is first read with.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.tokenizers.values().next().expect("a model has a text encoder")
    }

    /// Each text encoder, with what it reads prompts with.
    fn texts(&self) -> impl Iterator<Item = (&TextEncoder, &Tokenizer)> {
        self.config.texts.iter().map(|text| (text, &self.tokenizers[&text.role]))
    }

    /// A text encoder, with what it reads prompts with.
    pub(crate) fn text(&self, role: Role) -> Result<(&TextEncoder, &Tokenizer)> {
        let none = || Error::Model(format!("{}: the model has no {role}", self.name));
        self.texts().find(|(text, _)| text.role == role).ok_or_else(none)
    }

    /// A prompt as ids that a text encoder has.
    pub fn encode(&self, role: Role, prompt: &str) -> Result<Encoded> {
        let encoded = self.text(role)?.1.encode(prompt)?;
        self.check_ids(role, &encoded.ids)?;
        Ok(encoded)
    }

    /// Refuses ids that a text encoder does not have.
    pub(crate) fn check_ids(&self, role: Role, ids: &[u32]) -> Result<()> {
        let (text, tokenizer) = self.text(role)?;
        let rows = text.clip.vocab_size;
        let known = |id: &u32| (*id as usize) < rows || self.word(role, *id).is_some();
        match ids.iter().find(|id| !known(id)) {
            None => Ok(()),
            Some(&id) => Err(Error::Model(format!(
                "{}: the tokenizer gives {:?} of the prompt the id {id}, and the text encoder has rows for {rows} \
                 (vocab_size in {}): take the {role} that was saved with this tokenizer, or \
                 leave the word out",
                self.name,
                tokenizer.word(id).unwrap_or_default(),
                layout::config(role)
            ))),
        }
    }

    /// The tokenizers must speak of ids that the text encoders have.
    fn checked(self) -> Result<Self> {
        for (text, tokenizer) in self.texts() {
            let (words, rows) = (tokenizer.max_len(), text.clip.max_position_embeddings);
            if words != rows {
                return Err(Error::Model(format!(
                    "{}: {} gives prompts of {words} ids (model_max_length), {} {rows} (max_position_embeddings): the \
                     files belong to different models",
                    self.name,
                    words::SETTINGS,
                    layout::config(text.role)
                )));
            }
            let highest = tokenizer.bos().max(tokenizer.eos()).max(tokenizer.pad());
            if highest as usize >= text.clip.vocab_size {
                return Err(Error::Model(format!(
                    "{}: the tokenizer has an id {highest}, and the text encoder only {} (vocab_size): the files belong \
                     to different models",
                    self.name, text.clip.vocab_size
                )));
            }
        }
        Ok(self)
    }
}
