//! What a model was trained with: the noise that each training timestep adds, and what the model predicts. Tables are
//! rounded to float32 where torch rounds them, so that sigmas agree to the last place.

use crate::dialect::Dialect;
use crate::lin::Lin;
use crate::schedule::linspace;
use libm::fmaf;

/// How beta, the variance of the noise that a training timestep adds, grows with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Evenly from `beta_start` to `beta_end` (Ho et al. 2020, arXiv 2006.11239).
    Linear,
    /// Its square root does (Rombach et al. 2022, arXiv 2112.10752): Stable Diffusion's.
    ScaledLinear,
    /// From a squared cosine of the cumulative alpha (Nichol and Dhariwal 2021, arXiv 2102.09672).
    SquaredCosCapV2,
    /// From an exponential of it; Heun's class alone accepts it.
    Exp,
}

/// What the model's output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `alpha * noise - sigma * clean` (Salimans and Ho 2022, arXiv 2202.00512).
    V,
}

/// What a model was trained with. Fields carry diffusers' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Timesteps the model was trained with.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// How betas run between the two.
    pub beta_schedule: BetaSchedule,
    /// Betas given one by one, in place of the three above.
    pub trained_betas: Option<Vec<f32>>,
    /// Whether the last timestep is made pure noise.
    pub rescale_betas_zero_snr: bool,
    /// What the model predicts.
    pub prediction_type: Prediction,
    /// How it is preconditioned, where it was trained on sigmas of a range instead of betas.
    pub edm: Option<Edm>,
}

/// A model that was trained on sigmas of a range, and knows them by their logarithm (Karras et al. 2022, arXiv 2206.00364,
/// table 1; diffusers: scheduling_edm_euler.py).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edm {
    /// Smallest sigma.
    pub sigma_min: f64,
    /// Largest sigma.
    pub sigma_max: f64,
    /// The data's standard deviation.
    pub sigma_data: f64,
    /// How Karras' sigmas crowd at the picture's end.
    pub rho: f64,
    /// Whether sigmas lie evenly in logarithm in their place.
    pub is_exponential: bool,
}

impl Edm {
    /// The falling sigmas of a run, without its end.
    pub fn sigmas(&self, steps: usize) -> Vec<f32> {
        let Self { sigma_min: least, sigma_max: most, rho, .. } = *self;
        if self.is_exponential {
            // One alone is the smallest.
            let rising = linspace(least.ln(), most.ln(), steps);
            return rising.into_iter().rev().map(|log| log.exp() as f32).collect();
        }
        let (high, low) = (most.powf(1.0 / rho), least.powf(1.0 / rho));
        let sigma = |share: f64| (high + share * (low - high)).powf(rho) as f32;
        linspace(0.0, 1.0, steps).into_iter().map(sigma).collect()
    }

    /// What the model is told of a sigma.
    pub fn time(&self, sigma: f64) -> f64 {
        0.25 * sigma.ln()
    }

    /// What multiplies the sample that the model sees.
    pub fn input_scale(&self, sigma: f64) -> f64 {
        1.0 / (sigma * sigma + self.sigma_data * self.sigma_data).sqrt()
    }

    /// The clean sample in `x`, as far as model output `m` tells.
    pub(crate) fn clean(&self, prediction: Prediction, x: Lin, m: Lin, sigma: f64) -> Lin {
        let data = self.sigma_data;
        let norm = sigma * sigma + data * data;
        let sign = if prediction == Prediction::V { -1.0 } else { 1.0 };
        x * (data * data / norm) + m * (sign * sigma * data / norm.sqrt())
    }
}

impl Trained {
    /// `alphas_cumprod`: how much of the picture's energy is left at each training timestep.
    pub fn alphas_cumprod(&self) -> Vec<f32> {
        let n = self.num_train_timesteps;
        let (start, end) = (self.beta_start, self.beta_end);
        let betas = match (&self.trained_betas, self.beta_schedule) {
            (Some(betas), _) => betas.clone(),
            (None, BetaSchedule::Linear) => linspace_f32(start as f32, end as f32, n),
            (None, BetaSchedule::ScaledLinear) => {
                linspace_f32(start.sqrt() as f32, end.sqrt() as f32, n).iter().map(|b| b * b).collect()
            }
            (None, BetaSchedule::SquaredCosCapV2) => {
                let angle = |t: f64| (t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
                betas_for_alpha_bar(n, |t| angle(t).cos().powi(2))
            }
            (None, BetaSchedule::Exp) => betas_for_alpha_bar(n, |t| (t * -12.0).exp()),
        };
        match self.rescale_betas_zero_snr {
            true => cumulative_alphas(&rescale_zero_terminal_snr(&betas)),
            false => cumulative_alphas(&betas),
        }
    }

    /// Sigmas of the variance-exploding view, `sqrt((1 - a) / a)`, one a training timestep, rising. With zero
    /// terminal SNR the last alpha is `2^-24` in place of zero, as diffusers has it, so that its sigma is finite.
    pub fn sigmas(&self) -> Vec<f32> {
        let mut alphas = self.alphas_cumprod();
        if let (true, Some(last)) = (self.rescale_betas_zero_snr, alphas.last_mut()) {
            *last = (-24.0f32).exp2();
        }
        alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
    }
}

impl Trained {
    /// The same by a dialect's rule. A1111 and ComfyUI leave a last alpha of [`NEARLY_ZERO`] with zero terminal SNR.
    pub(crate) fn sigmas_of(&self, dialect: Dialect) -> Vec<f64> {
        if dialect == Dialect::Diffusers {
            return self.sigmas().into_iter().map(f64::from).collect();
        }
        let mut alphas: Vec<f64> = self.alphas_cumprod().into_iter().map(f64::from).collect();
        if let (true, Some(last)) = (self.rescale_betas_zero_snr, alphas.last_mut()) {
            *last = NEARLY_ZERO;
        }
        alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
    }
}

/// What A1111 (modules/sd_models.py) and ComfyUI (model_sampling.py) put in the place of the last cumulative alpha.
const NEARLY_ZERO: f64 = 4.897_345_189_085_343_5e-8;

/// The fractional timestep whose training sigma is `sigma`: linear in log sigma between neighbours.
pub(crate) fn timestep_of(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let below = log_sigmas.iter().rposition(|&l| log_sigma >= f64::from(l)).unwrap_or(0);
    let low = below.min(log_sigmas.len() - 2);
    let (a, b) = (log_sigmas[low], log_sigmas[low + 1]);
    let w = ((f64::from(a) - log_sigma) / f64::from(a - b)).clamp(0.0, 1.0);
    (1.0 - w) * low as f64 + w * (low + 1) as f64
}

/// `torch.linspace(start, end, n)` in float32: counted from the nearer end, one rounding an element.
fn linspace_f32(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = (end - start) / (n.max(2) - 1) as f32;
    (0..n)
        .map(|i| match i < n / 2 {
            true => fmaf(step, i as f32, start),
            false => fmaf(-step, (n - 1 - i) as f32, end),
        })
        .collect()
}

/// Betas from a cumulative alpha given as a function of time in `0..=1`, at most 0.999 each (Nichol and
/// Dhariwal 2021, arXiv 2102.09672, equation 17).
fn betas_for_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// Shifts and scales `sqrt(alpha_bar)` so that the last timestep is pure noise and the first is kept (Lin et al.
/// 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv 2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let root: Vec<f32> = cumulative_alphas(betas).iter().map(|a| a.sqrt()).collect();
    let (first, last) = (root[0], root[root.len() - 1]);
    let gain = first / (first - last);
    let bar: Vec<f32> = root.iter().map(|r| ((r - last) * gain).powi(2)).collect();
    (0..bar.len()).map(|i| 1.0 - if i == 0 { bar[0] } else { bar[i] / bar[i - 1] }).collect()
}

/// `cumprod(1 - betas)`: alphas in float32, their product carried in float64 as torch carries it.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}
