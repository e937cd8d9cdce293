use crate::error::{Error, Result};
use calotype_field::Field;
use calotype_sampling::noise::BatchSeeds;
use calotype_sampling::{Sampler, Schedule};
use calotype_tensor::HostTensor;
use serde::{Deserialize, Serialize};

/// What to draw, as it is wished for: what is left open the model settles ([`Request::settle`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// One for all images of the batch, or one for each.
    pub prompts: Vec<String>,
    /// What to keep away from: one for all images, or one for each.
    pub negative_prompts: Vec<String>,
    /// Pixels; the model's own size where there is none.
    pub width: Option<usize>,
    /// Pixels; the model's own size where there is none.
    pub height: Option<usize>,
    /// Denoising steps; the model's own number where there is none.
    pub steps: Option<usize>,
    /// How far to follow the prompt (classifier-free guidance: Ho and Salimans 2022, arXiv:2207.12598). At 1 or below
    /// the unconditional pass is skipped. The model's own where there is none.
    pub cfg_scale: Option<f32>,
    /// Whether to draw in the few-steps form of a model that has one; where nothing is said, unless the request asks for
    /// what it cannot do: guidance, a negative prompt, many steps.
    pub few_steps: Option<bool>,
    /// How far to pull the guided output's spread back to the conditional one's, 0 to 1 (Lin et al. 2023,
    /// arXiv:2305.08891).
    pub cfg_rescale: f32,
    /// Where noise begins.
    pub seed: u64,
    /// Whether image i has its own generator with seed + i, or one serves all.
    pub batch_seeds: BatchSeeds,
    /// Images made at once.
    pub batch_size: usize,
    /// The sampler; the model's own where there is none.
    pub sampler: Option<Sampler>,
    /// The noise schedule; the sampler's own where there is none.
    pub schedule: Option<Schedule>,
    /// DDIM's noise: 0 for none, 1 for as much as DDPM.
    pub eta: f64,
    /// Noise to use in place of the seed's.
    #[serde(skip)]
    pub noise: Option<GivenNoise>,
}

impl Default for Request {
    fn default() -> Self {
        Self::new("")
    }
}

/// Noise from a file, for exact comparison.
#[derive(Clone, Debug)]
pub struct GivenNoise {
    /// The unscaled starting noise, `[B, C, H/f, W/f]` f32, as diffusers' `latents=`.
    pub latents: HostTensor,
    /// What an ancestral or LCM sampler adds, in order, each `[B, C, H/f, W/f]` f32.
    pub added: Vec<HostTensor>,
}

impl Request {
    /// The longest side of a picture, in pixels.
    pub const MOST_PIXELS: usize = 1 << 16;

    /// The largest batch.
    pub const MOST_IMAGES: usize = 1 << 16;

    /// The most steps: ten times as many as models are trained with. A run's table of them lies on the device.
    pub const MOST_STEPS: usize = 10_000;

    /// A request with the defaults of the command line.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompts: vec![prompt.into()],
            negative_prompts: vec![String::new()],
            width: None,
            height: None,
            steps: None,
            cfg_scale: None,
            few_steps: None,
            cfg_rescale: 0.0,
            seed: 0,
            batch_seeds: BatchSeeds::Each,
            batch_size: 1,
            sampler: None,
            schedule: None,
            eta: 0.0,
            noise: None,
        }
    }

    /// Refuses a side that is too long.
    pub(crate) fn check_side(pixels: usize, field: Field) -> Result<()> {
        let most = Self::MOST_PIXELS;
        let large = || format!("{field} {pixels} is too large: a picture has at most {most} a side");
        if pixels > most { Err(Error::request(field, large())) } else { Ok(()) }
    }

    /// Refuses numbers that no run could honour.
    pub fn check(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        for (side, field) in [(self.width, Field::Width), (self.height, Field::Height)] {
            side.map_or(Ok(()), |pixels| Self::check_side(pixels, field))?;
        }
        let (most, batch) = (Self::MOST_IMAGES, self.batch_size);
        if batch > most {
            return bad(
                Field::BatchSize,
                format!(
                    "{batch} is too large: at most {most} pictures are made at once; draw more one batch after another"
                ),
            );
        }
        let most = Self::MOST_STEPS;
        if let Some(steps) = self.steps.filter(|steps| *steps > most) {
            return bad(Field::Steps, format!("{steps} is too large: use at most {most}"));
        }
        let count = |n: usize| n == 1 || n == self.batch_size;
        if self.batch_size == 0 {
            return bad(Field::BatchSize, "0 makes no picture: use 1 or more".into());
        }
        if self.steps == Some(0) {
            return bad(Field::Steps, "0 makes no picture: use 1 or more".into());
        }
        for (field, texts) in
            [(Field::Prompts, &self.prompts), (Field::NegativePrompts, &self.negative_prompts)]
        {
            if !count(texts.len()) {
                let (has, size) = (texts.len(), Field::BatchSize);
                return bad(
                    field,
                    format!("holds {has} texts, and {size} is {batch}: give one, or one an image"),
                );
            }
        }
        if let Some(scale) = self.cfg_scale.filter(|scale| !scale.is_finite()) {
            return bad(Field::CfgScale, format!("{scale} is not a number to multiply with"));
        }
        if !(0.0..=1.0).contains(&self.cfg_rescale) {
            return bad(Field::CfgRescale, format!("{} is not between 0 and 1", self.cfg_rescale));
        }
        if !(0.0..=1.0).contains(&self.eta) {
            return bad(Field::Eta, format!("{} is not between 0 and 1", self.eta));
        }
        Ok(())
    }
}
