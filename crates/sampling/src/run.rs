//! What a sampler over sigmas is given.
//!
//! The view is k-diffusion's: `x = clean + sigma * noise`, and the model sees `x / sqrt(sigma^2 + 1)`.

use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Clip, Draft, Sheet, alpha_of, predict};
use crate::trained::{Prediction, Trained};
use calotype_field::Field;

/// A sampler that runs over sigmas: it pushes one evaluation after the other.
pub type Method = fn(&Run, &mut Sheet) -> Result<()>;

/// The numbers that users may set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knobs {
    /// How much of the noise that a step takes away is drawn anew.
    pub eta: f64,
    /// Multiplies noise that is drawn on the way.
    pub s_noise: f64,
    /// How far noise is turned up before steps, in all of a run's together (Karras et al. 2022, algorithm 2).
    pub s_churn: f64,
    /// Below this sigma it is not.
    pub s_tmin: f64,
    /// Above this sigma it is not.
    pub s_tmax: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs { eta: 1.0, s_noise: 1.0, s_churn: 0.0, s_tmin: 0.0, s_tmax: f64::INFINITY }
    }
}

/// How a sigma becomes the timestep that the model is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clock {
    /// `ln` of the training sigmas, rising.
    pub logs: Vec<f64>,
    /// To the nearest training timestep, in log sigma.
    pub whole: bool,
}

impl Clock {
    /// The timestep of a sigma: linear in log sigma between neighbours, held within the table (k-diffusion: external.py,
    /// `sigma_to_t`).
    pub fn time(&self, sigma: f64) -> f64 {
        let (logs, log) = (&self.logs, sigma.max(1e-10).ln());
        let below = logs.partition_point(|&l| l <= log).saturating_sub(1).min(logs.len() - 2);
        let w = ((log - logs[below]) / (logs[below + 1] - logs[below])).clamp(0.0, 1.0);
        match self.whole {
            true => below as f64 + if w > 0.5 { 1.0 } else { 0.0 },
            false => below as f64 + w,
        }
    }

    /// The sigma of a timestep, the other way round.
    pub fn sigma(&self, time: f64) -> f64 {
        let last = self.logs.len() - 1;
        let time = time.clamp(0.0, last as f64);
        let low = (time.floor() as usize).min(last - 1);
        let w = time - low as f64;
        ((1.0 - w) * self.logs[low] + w * self.logs[low + 1]).exp()
    }
}

/// A run over sigmas.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Falling; the last is where the run ends, mostly zero.
    pub sigmas: Vec<f64>,
    /// What the model is told at each of `sigmas`, where the clock is not asked.
    pub(crate) times: Vec<f64>,
    pub(crate) clock: Clock,
    /// What the model predicts.
    pub prediction: Prediction,
    /// The user's numbers.
    pub knobs: Knobs,
    /// What the clean sample is held within.
    pub(crate) clip: Option<Clip>,
    /// Whose rules are followed, where they differ.
    pub(crate) dialect: Dialect,
    /// How many steps were asked for.
    pub(crate) asked: usize,
    /// Of those that a sampler chooses the levels of itself, how many are left out at the beginning, where the run begins from a
    /// picture.
    pub(crate) begin: Option<usize>,
    /// The sigmas of steps before the first that another has not taken: none but where diffusers counts them.
    pub(crate) before: Vec<f64>,
    /// The cumulative alphas of the training timesteps.
    pub(crate) alphas: Vec<f64>,
}

impl Run {
    /// A run of a model that visits nothing yet.
    pub(crate) fn new(trained: &Trained, dialect: Dialect) -> Run {
        let sigmas = trained.sigmas_of(dialect);
        let logs = sigmas.iter().map(|s| s.ln()).collect();
        let alphas = sigmas.iter().map(|s| 1.0 / (s * s + 1.0)).collect();
        let clock = Clock { logs, whole: dialect == Dialect::Comfy };
        let (prediction, knobs) = (trained.prediction_type, Knobs::default());
        let (sigmas, times, before, clip) = (vec![], vec![], vec![], None);
        Run { sigmas, times, clock, prediction, knobs, clip, dialect, asked: 0, begin: None, before, alphas }
    }

    /// Steps from one sigma to the next.
    pub fn steps(&self) -> usize {
        self.sigmas.len().saturating_sub(1)
    }

    /// Errors where noise is to be drawn anew, for a sampler that draws none by the dialect's rules.
    pub(crate) fn draws_nothing(&self, sampler: &str) -> Result<()> {
        if self.knobs.eta == 0.0 {
            return Ok(());
        }
        let (eta, dialect) = (Field::Eta, self.dialect);
        Err(Error::Sampler(format!(
            "sampler {sampler} draws no noise anew in dialect {dialect}: leave {eta} out, or give another {}",
            Field::Dialect
        )))
    }

    /// Step `i`'s sigma, and the next.
    pub fn pair(&self, i: usize) -> (f64, f64) {
        (self.sigmas[i], self.sigmas[i + 1])
    }

    /// An evaluation at `sigma`, which need not be one of the run's.
    pub fn at(&self, sigma: f64) -> Draft {
        let listed = self.sigmas.iter().position(|s| *s == sigma).and_then(|i| self.times.get(i));
        let time = listed.copied().unwrap_or_else(|| self.clock.time(sigma));
        Draft { input_scale: alpha_of(sigma), level: Some([1.0, sigma]), ..Draft::new(time) }
    }

    /// The clean sample as the guided output has it, of the sample in register 0.
    pub fn clean(&self, sigma: f64) -> Lin {
        self.clean_of(sigma, Lin::M)
    }

    /// The clean sample as the unconditional output has it.
    pub fn clean_unconditional(&self, sigma: f64) -> Lin {
        self.clean_of(sigma, Lin::U)
    }

    fn clean_of(&self, sigma: f64, output: Lin) -> Lin {
        let alpha = alpha_of(sigma);
        predict(self.prediction, Lin::X * alpha, output, alpha, sigma * alpha).0
    }

    /// The slope `(x - clean) / sigma`, of the evaluation `step`.
    pub fn slope(&self, step: &mut Draft, sigma: f64) -> Lin {
        (Lin::X - step.clip(self.clean(sigma), self.clip)) / sigma
    }

    /// Turns noise up before step `i`, where the user says so, and gives the sigma that the sample has then. k-diffusion
    /// draws the noise in any case.
    pub fn churn(&self, sheet: &mut Sheet, i: usize) -> f64 {
        let (sigma, knobs) = (self.sigmas[i], &self.knobs);
        let within = (knobs.s_tmin..=knobs.s_tmax).contains(&sigma);
        let share = (knobs.s_churn / self.steps() as f64).min(std::f64::consts::SQRT_2 - 1.0);
        let gamma = if within { share.max(0.0) } else { 0.0 };
        let hat = sigma * (1.0 + gamma);
        if gamma > 0.0 || self.dialect == Dialect::K {
            sheet.stir(knobs.s_noise * (hat * hat - sigma * sigma).max(0.0).sqrt());
        }
        hat
    }

    /// The sigma of a timestep between two, by the logarithm of the cumulative alpha (UniPC's `NoiseScheduleVP`).
    pub(crate) fn sigma_between(&self, time: f64) -> f64 {
        let low = (time.max(0.0) as usize).min(self.alphas.len() - 2);
        let (a, b) = (self.alphas[low].ln(), self.alphas[low + 1].ln());
        let alpha = (a + (b - a) * (time - low as f64)).exp();
        ((1.0 - alpha) / alpha).sqrt()
    }

    /// What multiplies unit noise at the start. ComfyUI adds the clean sample's unit variance where the run starts from the
    /// most noise there is (model_sampling.py, `noise_scaling`; model_base.py and samplers.py, `max_denoise`).
    pub(crate) fn start(&self) -> f64 {
        let first = self.sigmas.first().copied().unwrap_or(1.0);
        let most = self.clock.logs.last().map_or(f64::INFINITY, |log| log.exp());
        let all = first >= most || (first - most).abs() <= 1e-5 * most;
        if all && self.dialect == Dialect::Comfy { (first * first + 1.0).sqrt() } else { first }
    }

    /// The sigma at a share of the time, from the noise on (ComfyUI: model_sampling.py, `percent_to_sigma`).
    pub fn at_share(&self, share: f64) -> f64 {
        self.clock.sigma((1.0 - share) * (self.clock.logs.len() - 1) as f64)
    }

    /// k-diffusion's `get_ancestral_step`: how far a step goes down, and how much noise it adds up again.
    pub fn ancestral(&self, from: f64, to: f64) -> (f64, f64) {
        let eta = self.knobs.eta;
        if eta == 0.0 {
            return (to, 0.0);
        }
        let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt());
        ((to * to - up * up).max(0.0).sqrt(), up)
    }
}

/// `-ln sigma`: half the log signal-to-noise ratio.
pub(crate) fn lambda(sigma: f64) -> f64 {
    -sigma.ln()
}
