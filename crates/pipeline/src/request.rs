use crate::error::{Error, Result};
use crate::model::Model;
use crate::noise::BatchSeeds;
use crate::samplers::{Sampler, Schedule, SchedulerConfig};
use calotype_tensor::HostTensor;

/// What to draw, in the words of the command line.
#[derive(Clone, Debug)]
pub struct Request {
    /// One for all images of the batch, or one for each.
    pub prompts: Vec<String>,
    /// What to keep away from: one for all images, or one for each.
    pub negative_prompts: Vec<String>,
    /// Pixels; the model's own size where there is none.
    pub width: Option<usize>,
    /// Pixels; the model's own size where there is none.
    pub height: Option<usize>,
    /// Denoising steps.
    pub steps: usize,
    /// How far to follow the prompt (classifier-free guidance: Ho and Salimans 2022, arXiv:2207.12598). At 1 or below
    /// the unconditional pass is skipped.
    pub cfg_scale: f32,
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
    pub noise: Option<GivenNoise>,
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
            steps: 20,
            cfg_scale: 7.5,
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

    /// Whether the model sees the unconditional batch too.
    pub fn guided(&self) -> bool {
        self.cfg_scale > 1.0
    }

    /// The seed that gives each picture in a batch of its own. With one generator for the whole batch there is none
    /// but the first's.
    pub fn seeds(&self) -> Vec<u64> {
        (0..self.batch_size).map(|i| self.seed_of(i)).collect()
    }

    /// The one of picture `i`. After the largest comes 0.
    pub(crate) fn seed_of(&self, i: usize) -> u64 {
        self.seed.wrapping_add(if self.batch_seeds == BatchSeeds::Each { i as u64 } else { 0 })
    }

    /// The picture's `[height, width]` in pixels: as asked, or the model's own.
    pub fn size(&self, model: &Model) -> Result<[usize; 2]> {
        let own = model.config.default_size();
        let factor = model.config.vae.factor();
        let side = |asked: Option<usize>, own: Option<usize>, flag: &str| {
            let pixels = asked.or(own).ok_or_else(|| {
                Error::Request(format!("the model does not say its size: give {flag} in pixels"))
            })?;
            Self::check_side(pixels, flag)?;
            if pixels == 0 || !pixels.is_multiple_of(factor) {
                let (low, high) = (pixels / factor * factor, pixels.next_multiple_of(factor).max(factor));
                let near = if low == 0 { high.to_string() } else { format!("{low} or {high}") };
                return Err(Error::Request(format!(
                    "{flag} {pixels} is not a multiple of {factor}, the model's smallest step: use {near}"
                )));
            }
            Ok(pixels)
        };
        Ok([
            side(self.height, own.map(|s| s[0]), "--height")?,
            side(self.width, own.map(|s| s[1]), "--width")?,
        ])
    }

    /// The sampler's configuration: the model's own, or as asked.
    pub fn scheduler(&self, model: &Model) -> Result<SchedulerConfig> {
        match (self.sampler, self.schedule) {
            (None, None) => model.scheduler.own(),
            (sampler, schedule) => model.scheduler.with_sampler(sampler, schedule),
        }
    }

    fn check_side(pixels: usize, flag: &str) -> Result<()> {
        let most = Self::MOST_PIXELS;
        let large =
            || Error::Request(format!("{flag} {pixels} is too large: a picture has at most {most} a side"));
        if pixels > most { Err(large()) } else { Ok(()) }
    }

    /// Refuses numbers that no run could honour.
    pub fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::Request(text));
        for (side, flag) in [(self.width, "--width"), (self.height, "--height")] {
            side.map_or(Ok(()), |pixels| Self::check_side(pixels, flag))?;
        }
        let (most, batch) = (Self::MOST_IMAGES, self.batch_size);
        if batch > most {
            return bad(format!(
                "--batch-size {batch} is too large: at most {most} pictures are made at once; --batch-count makes more, \
                 one batch after another"
            ));
        }
        let most = Self::MOST_STEPS;
        if self.steps > most {
            return bad(format!("--steps {} is too large: use at most {most}", self.steps));
        }
        let count = |n: usize| n == 1 || n == self.batch_size;
        if self.batch_size == 0 {
            return bad("--batch-size 0 makes no picture: use 1 or more".into());
        }
        if self.steps == 0 {
            return bad("--steps 0 makes no picture: use 1 or more".into());
        }
        if !count(self.prompts.len()) || !count(self.negative_prompts.len()) {
            return bad(format!(
                "{} prompts and {} negative prompts do not go with --batch-size {}: give one, or one an image",
                self.prompts.len(),
                self.negative_prompts.len(),
                self.batch_size
            ));
        }
        if !self.cfg_scale.is_finite() {
            return bad(format!("--cfg-scale {} is not a number to multiply with", self.cfg_scale));
        }
        if !(0.0..=1.0).contains(&self.cfg_rescale) {
            return bad(format!("--cfg-rescale {} is not between 0 and 1", self.cfg_rescale));
        }
        if !(0.0..=1.0).contains(&self.eta) {
            return bad(format!("--eta {} is not between 0 and 1", self.eta));
        }
        Ok(())
    }
}
