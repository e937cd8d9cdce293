use crate::error::{Error, Result};
use crate::samplers::SchedulerConfig;
use crate::tokenizer::Tokenizer;
use calotype_graph::{Graph, WeightFetch};
use calotype_models::config::{ModelConfig, Preset};
use calotype_models::{Source, clip, declare, unet, vae};
use calotype_weights::Synthetic;

/// A model opened for reading: its configuration, its tokenizer, and where its weights come from. Nothing is on a
/// device yet.
pub struct Model {
    /// What it is called in messages and in pictures' settings.
    pub name: String,
    /// What the folder's JSON says.
    pub config: ModelConfig,
    /// The model's own sampler.
    pub scheduler: SchedulerConfig,
    /// The model's own vocabulary.
    pub tokenizer: Tokenizer,
    /// The text encoder's tensors.
    pub text: Box<dyn WeightFetch>,
    /// The UNet's tensors.
    pub unet: Box<dyn WeightFetch>,
    /// The autoencoder's tensors.
    pub vae: Box<dyn WeightFetch>,
}

/// The seed of `synthetic:` models' weights.
const SYNTHETIC_SEED: u64 = 0x0ca1_07b9;

impl Model {
    /// Opens what `-m` names: a folder in the diffusers layout, or `synthetic:sd15`, `synthetic:sd21`.
    /// `variant`, such as `fp16`, is preferred among a component's files where it exists.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(place: &str, variant: Option<&str>) -> Result<Self> {
        if let Some(name) = place.strip_prefix("synthetic:") {
            let known = || Preset::ALL.map(|p| format!("synthetic:{}", p.name())).join(", ");
            let preset = Preset::from_name(name)
                .ok_or_else(|| Error::Model(format!("there is no model {place}; there are {}", known())))?;
            return Self::synthetic(preset);
        }
        Self::folder(std::path::Path::new(place), variant)
    }

    /// Opens a folder in the diffusers layout.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn folder(folder: &std::path::Path, variant: Option<&str>) -> Result<Self> {
        use calotype_weights::Safetensors;
        if !folder.is_dir() {
            let place = folder.display();
            return Err(Error::Model(format!(
                "{place}: no such folder; -m takes a model folder in the diffusers layout, or synthetic:sd15"
            )));
        }
        let config = ModelConfig::open(folder)?;
        let scheduler = SchedulerConfig::from_json(&config.scheduler)?.as_stable_diffusion_loads_it();
        let tokenizer = Tokenizer::from_folder(folder.join("tokenizer"))?;
        let open = |component: &str| -> Result<Box<dyn WeightFetch>> {
            Ok(Box::new(Source::new(Safetensors::open_folder(folder.join(component), variant)?)))
        };
        let name = folder.canonicalize().ok().and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        Self {
            name: name.unwrap_or_else(|| "model".into()),
            scheduler,
            tokenizer,
            text: open("text_encoder")?,
            unet: open("unet")?,
            vae: open("vae")?,
            config,
        }
        .checked()
    }

    /// A published architecture with seeded random weights, made as they are asked for.
    pub fn synthetic(preset: Preset) -> Result<Self> {
        let config = preset.config()?;
        let scheduler = SchedulerConfig::from_json(&config.scheduler)?.as_stable_diffusion_loads_it();
        let tokenizer = match preset {
            Preset::Sd15 => Tokenizer::clip()?,
            Preset::Sd21 => Tokenizer::clip_padded_with("!")?,
        };
        let source = |graph: Graph| -> Result<Box<dyn WeightFetch>> {
            Ok(Box::new(Source::new(Synthetic::new(SYNTHETIC_SEED, declare(&graph))?)))
        };
        Self {
            name: format!("synthetic:{}", preset.name()),
            text: source(clip::text_encoder(&config.text, 1)?)?,
            unet: source(unet::unet(&config.unet, 1, 8, 8, 77, 1)?)?,
            vae: source(vae::decoder(&config.vae, 8, 8)?)?,
            scheduler,
            tokenizer,
            config,
        }
        .checked()
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
