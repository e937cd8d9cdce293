//! KerasCV's `StableDiffusion` (keras_cv/src/models/stable_diffusion/stable_diffusion.py).
//!
//! ```no_run
//! use calotype::compat::keras::{Generation, StableDiffusion};
//!
//! # fn main() -> Result<(), calotype::Error> {
//! let mut model = StableDiffusion::from_pretrained("path/to/stable-diffusion-v1-4", 512, 512)?;
//! let asked = Generation { batch_size: 3, ..Generation::default() };
//! let pictures = model.text_to_image("photograph of an astronaut riding a horse", &asked)?;
//! # Ok(()) }
//! ```

use crate::noise::{TensorFlow, nhwc_to_nchw};
use crate::tokenizer::Tokenizer;
use crate::{
    BatchSeeds, Condition, Device, Dialect, Error, Field, GivenNoise, HostTensor, Model, ModelPlace,
    OpenDevice, Order, Picture, Pipeline, Precision, PromptStyle, Request, Sampler, Search, random_seed,
};
use std::ops::ControlFlow;
use std::str::FromStr;

/// Sizes are multiples of this.
pub const GRID: usize = 128;

/// A release of KerasCV: major, minor and patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub [u32; 3]);

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use a release of KerasCV that draws, 0.3 to 0.9, such as 0.6.1".to_string();
        let parts: Vec<u32> =
            text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        // A release without its last number is the last of those.
        let patch = parts.get(2).copied().unwrap_or(u32::MAX);
        match parts[..] {
            [0, minor @ 3..=9] | [0, minor @ 3..=9, _] => Ok(Release([0, minor, patch])),
            _ => Err(wrong()),
        }
    }
}

/// By which release's rules it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The release.
    pub release: Release,
    /// Whether seeds are those of 0.6.2 to 0.8 without keras-core.
    pub without_keras_core: bool,
}

impl Default for Rules {
    /// The last release's.
    fn default() -> Self {
        Self { release: Release([0, 9, u32::MAX]), without_keras_core: false }
    }
}

impl Rules {
    /// Which timesteps are visited.
    pub fn dialect(self) -> Dialect {
        if self.release < Release([0, 8, 2]) { Dialect::Keras03 } else { Dialect::Keras }
    }

    /// `num_steps` where nothing is said.
    pub fn steps(self) -> usize {
        if self.release < Release([0, 4, 0]) { 25 } else { 50 }
    }

    /// What a seed gives.
    pub fn generator(self, seed: u64) -> TensorFlow {
        match self.release {
            release if release < Release([0, 4, 0]) => TensorFlow::stateful(seed),
            release if release < Release([0, 6, 2]) => TensorFlow::stateless([seed, seed]),
            _ if self.without_keras_core => TensorFlow::stateless([0, seed]),
            _ => TensorFlow::stateless([seed, 0]),
        }
    }

    /// An order's noise.
    pub fn noise(self, model: &Model, order: &Order, seed: u64) -> GivenNoise {
        let vae = &model.config.vae;
        let [c, f] = [vae.latent_channels, vae.factor()];
        let [h, w] = [order.height / f, order.width / f];
        let mut values = vec![0.0; order.batch_size * h * w * c];
        self.generator(seed).randn(&mut values);
        let latents = HostTensor::from_f32([order.batch_size, c, h, w], &nhwc_to_nchw(&values, [c, h, w]));
        GivenNoise { latents, added: Vec::new() }
    }
}

/// The nearest multiple of [`GRID`], the even one of two.
pub fn rounded(pixels: usize) -> usize {
    (pixels as f64 / GRID as f64).round_ties_even() as usize * GRID
}

/// Has texts filled up with the end token, whichever model it is.
pub fn fill_up(model: &mut Model) {
    model.tokenizers.values_mut().for_each(Tokenizer::pad_with_end);
}

/// How many tokens a text has and how many there may be, with start and end, where those are more: none is cut off.
pub fn beyond(model: &Model, text: &str) -> Result<Option<[usize; 2]>, Error> {
    for tokenizer in model.tokenizers.values() {
        let (len, most) = (tokenizer.ids(text)?.len() + 2, tokenizer.max_len());
        if len > most {
            return Ok(Some([len, most]));
        }
    }
    Ok(None)
}

/// What a call is told besides its prompt, by its parameters' names.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What to keep away from.
    pub negative_prompt: Option<String>,
    /// Pictures at once.
    pub batch_size: usize,
    /// Steps; the release's own where there is none.
    pub num_steps: Option<usize>,
    /// How far to follow the prompt.
    pub unconditional_guidance_scale: f32,
    /// Noise to begin with, `[B, h/8, w/8, 4]` f32 as TensorFlow has it, in the seed's place.
    pub diffusion_noise: Option<HostTensor>,
    /// The seed; a random one where there is none.
    pub seed: Option<u64>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            negative_prompt: None,
            batch_size: 1,
            num_steps: None,
            unconditional_guidance_scale: 7.5,
            diffusion_noise: None,
            seed: None,
        }
    }
}

impl Generation {
    /// The request, of a size that is rounded already.
    pub fn request(&self, rules: Rules, prompt: &str, [height, width]: [usize; 2], seed: u64) -> Request {
        Request {
            negative_prompts: vec![self.negative_prompt.clone().unwrap_or_default()],
            width: Some(width),
            height: Some(height),
            steps: Some(self.num_steps.unwrap_or(rules.steps())),
            cfg_scale: Some(self.unconditional_guidance_scale),
            few_steps: Some(false),
            prompt_style: PromptStyle::Plain,
            batch_size: self.batch_size,
            batch_seeds: BatchSeeds::One,
            seed,
            sampler: Some(Sampler::DDIM),
            sampler_dialect: Some(rules.dialect()),
            ..Request::new(prompt)
        }
    }
}

/// The class: a model that draws pictures of one size.
pub struct StableDiffusion {
    pipeline: Pipeline,
    rules: Rules,
    size: [usize; 2],
}

/// The same of a Stable Diffusion 2 model: what KerasCV has a class of its own for, the model says.
pub type StableDiffusionV2 = StableDiffusion;

impl StableDiffusion {
    /// A model, named as [`Pipeline::from_pretrained`] takes it, and pixels, rounded to multiples of 128.
    pub fn from_pretrained(place: &str, img_height: usize, img_width: usize) -> Result<Self, Error> {
        let device = Device::default().open()?;
        let precision = device.default_precision();
        let model = ModelPlace::find(Some(place), &Search::default(), &mut |_| ())?.open(precision)?;
        Self::new((&device, precision), model, Rules::default(), [img_height, img_width])
    }

    /// A model that is open, by a release's rules, and `[height, width]`.
    pub fn new(
        (device, precision): (&OpenDevice, Precision),
        mut model: Model,
        rules: Rules,
        size: [usize; 2],
    ) -> Result<Self, Error> {
        if let Some(side) = size.into_iter().find(|side| rounded(*side) == 0) {
            let why = format!("{side} pixels are rounded to 0: use {GRID} or more");
            return Err(Error::Request { field: Field::Width, why });
        }
        fill_up(&mut model);
        let mut pipeline = Pipeline::new(device, model, precision);
        pipeline.truncate();
        Ok(Self { pipeline, rules, size: size.map(rounded) })
    }

    /// A prompt as the model is told of it.
    ///
    /// Errors where it has more tokens than the text encoder takes.
    pub fn encode_text(&mut self, prompt: &str) -> Result<Condition, Error> {
        self.check(prompt)?;
        self.pipeline.encode_text(prompt)
    }

    /// A prompt to pictures.
    pub fn text_to_image(&mut self, prompt: &str, asked: &Generation) -> Result<Vec<Picture>, Error> {
        let encoded = self.encode_text(prompt)?;
        self.generate_image(&encoded, asked)
    }

    /// An encoded prompt to pictures.
    pub fn generate_image(
        &mut self,
        encoded_text: &Condition,
        asked: &Generation,
    ) -> Result<Vec<Picture>, Error> {
        let negative = self.encode_text(asked.negative_prompt.as_deref().unwrap_or_default())?;
        let seed = asked.seed.unwrap_or_else(random_seed);
        let mut request = asked.request(self.rules, "", self.size, seed);
        let order = self.pipeline.settle(&request)?;
        request.noise = Some(match &asked.diffusion_noise {
            None => self.rules.noise(self.pipeline.model(), &order, seed),
            Some(noise) => given(noise)?,
        });
        let negative = order.guided().then_some(std::slice::from_ref(&negative));
        let positive = std::slice::from_ref(encoded_text);
        let latents =
            self.pipeline.denoise(&request, negative, positive, |_, _| ControlFlow::Continue(()))?;
        self.pipeline.decode_latents(&latents)
    }

    fn check(&self, text: &str) -> Result<(), Error> {
        match beyond(self.pipeline.model(), text)? {
            None => Ok(()),
            Some([len, most]) => {
                let why = format!("a text has {len} tokens, and KerasCV takes {most}: shorten it");
                Err(Error::Request { field: Field::Prompts, why })
            }
        }
    }
}

/// Noise as TensorFlow has it.
fn given(noise: &HostTensor) -> Result<GivenNoise, Error> {
    let &[b, h, w, c] = noise.shape().dims() else {
        let why = format!("noise is [B, h, w, C], not {}", noise.shape());
        return Err(Error::Request { field: Field::Latents, why });
    };
    let values = nhwc_to_nchw(&noise.to_f32(), [c, h, w]);
    Ok(GivenNoise { latents: HostTensor::from_f32([b, c, h, w], &values), added: Vec::new() })
}
