use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::samplers::SchedulerConfig;
use crate::tokenizer::{Files, Tokenizer};
use calotype_graph::{Graph, WeightFetch};
use calotype_models::config::{ModelConfig, Preset};
use calotype_models::{Source, clip, declare, unet, vae};
use calotype_weights::{Memory, Synthetic, WeightSource};
use std::borrow::Cow;

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
    /// What the checkpoints hold: the text encoder's, the UNet's, the autoencoder's.
    pub contents: [Contents; 3],
}

/// A component's checkpoint as graphs ask for it, and what it holds.
type Component = (Box<dyn WeightFetch>, Contents);

fn component(name: &'static str, source: impl WeightSource + 'static) -> Component {
    let contents = Contents::of(name, &source);
    (Box::new(Source::new(source)), contents)
}

/// The names that exporters give the file of a component's weights.
const WEIGHTS: [&str; 2] = ["model.safetensors", "diffusion_pytorch_model.safetensors"];

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
        let open = |name| Ok(component(name, Safetensors::open_folder(folder.join(name), variant)?));
        let components = [open("text_encoder"), open("unet"), open("vae")];
        let name =
            folder.canonicalize().ok().and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        Self::new(name.unwrap_or_else(|| "model".into()), config, scheduler, tokenizer, components)
    }

    /// Opens a model whose files are in memory: `file` gets a path relative to the model's folder and returns the
    /// file's bytes, where there is such a file. Each component's weights are one safetensors file.
    pub fn from_files(name: &str, file: impl Fn(&str) -> Option<Cow<'static, [u8]>>) -> Result<Self> {
        let open = |part: &'static str| {
            let found = WEIGHTS.map(|f| format!("{part}/{f}")).into_iter().find_map(|f| Some((file(&f)?, f)));
            let (bytes, path) = found.ok_or_else(|| {
                Error::Model(format!("{name}: {part} has no weights: neither {}", WEIGHTS.join(" nor ")))
            })?;
            Ok::<_, Error>(Memory::new(format!("{name}/{path}"), bytes)?)
        };
        Self::from_sources(name, &file, [open("text_encoder")?, open("unet")?, open("vae")?])
    }

    /// Opens a model whose JSON and vocabulary are in memory, `file` returning them as for
    /// [`from_files`](Self::from_files), and whose weights are lent by the sources of the text encoder, the UNet and
    /// the autoencoder: what a browser fetches tensor by tensor.
    pub fn from_sources<S: WeightSource + 'static>(
        name: &str,
        file: impl Fn(&str) -> Option<Cow<'static, [u8]>>,
        [text, unet, vae]: [S; 3],
    ) -> Result<Self> {
        use std::io;
        let config = ModelConfig::read(name, |path| {
            let bytes = file(path).ok_or(io::ErrorKind::NotFound)?;
            String::from_utf8(bytes.into_owned()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        })?;
        let scheduler = SchedulerConfig::from_json(&config.scheduler)?.as_stable_diffusion_loads_it();
        let words = |path: &str| file(&format!("tokenizer/{path}")).map(Cow::into_owned);
        let tokenizer = Tokenizer::from_bytes(&Files {
            tokenizer: words("tokenizer.json"),
            vocab: words("vocab.json"),
            merges: words("merges.txt"),
            config: words("tokenizer_config.json"),
            special_tokens_map: words("special_tokens_map.json"),
        })?;
        let components =
            [Ok(component("text_encoder", text)), Ok(component("unet", unet)), Ok(component("vae", vae))];
        Self::new(name.into(), config, scheduler, tokenizer, components)
    }

    /// A published architecture with seeded random weights, made as they are asked for.
    pub fn synthetic(preset: Preset) -> Result<Self> {
        let config = preset.config()?;
        let scheduler = SchedulerConfig::from_json(&config.scheduler)?.as_stable_diffusion_loads_it();
        let tokenizer = match preset {
            Preset::Sd15 => Tokenizer::clip()?,
            Preset::Sd21 => Tokenizer::clip_padded_with("!")?,
        };
        let source =
            |name, graph: Graph| Ok(component(name, Synthetic::new(SYNTHETIC_SEED, declare(&graph))?));
        let components = [
            source("text_encoder", clip::text_encoder(&config.text, 1)?),
            source("unet", unet::unet(&config.unet, 1, 8, 8, 77, 1)?),
            source("vae", vae::decoder(&config.vae, 8, 8)?),
        ];
        Self::new(format!("synthetic:{}", preset.name()), config, scheduler, tokenizer, components)
    }

    fn new(
        name: String,
        config: ModelConfig,
        scheduler: SchedulerConfig,
        tokenizer: Tokenizer,
        [text, unet, vae]: [Result<Component>; 3],
    ) -> Result<Self> {
        let ((text, a), (unet, b), (vae, c)) = (text?, unet?, vae?);
        Self { name, config, scheduler, tokenizer, text, unet, vae, contents: [a, b, c] }.checked()
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
