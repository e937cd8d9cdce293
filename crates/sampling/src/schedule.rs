//! Noise schedules by name: formulas for the falling sigmas of a run, in place of evenly spaced timesteps.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The noise schedule: how the sigmas of a run are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// At the visited training timesteps: those of the model's own scheduler, or, in A1111 and ComfyUI, evenly spaced ones.
    #[default]
    Discrete,
    /// Karras et al. 2022, arXiv 2206.00364, equation 5.
    Karras,
    /// Evenly in log sigma.
    Exponential,
    /// The same (k-diffusion's, at rho 1).
    Polyexponential,
    /// Quantiles of a beta distribution (Lee et al. 2024, arXiv 2407.12173).
    Beta,
    /// Evenly spaced timesteps, the last of one more left out (Stability's generative-models).
    SgmUniform,
    /// Every n-th of the training sigmas, counted from the noise.
    Simple,
    /// Every n-th of the training sigmas, counted from the picture.
    DdimUniform,
    /// Evenly in the arc tangent of sigma (Sabour et al. 2024, arXiv 2404.14507, appendix).
    KlOptimal,
    /// Evenly near the noise, then quadratically (ComfyUI's, after Genmo's).
    LinearQuadratic,
    /// Sabour et al. 2024, arXiv 2404.14507.
    AlignYourSteps,
    /// The same, searched for 32 steps.
    AlignYourSteps32,
    /// Chen et al. 2024, arXiv 2405.11326.
    Gits,
    /// The continuous variance-preserving one (Song et al. 2021, arXiv 2011.13456; k-diffusion's `get_sigmas_vp`).
    Vp,
    /// Quantiles of a Laplace distribution (Hang et al. 2024, arXiv 2407.03297; ComfyUI's).
    Laplace,
    /// SDXL Turbo's timesteps (Sauer et al. 2023, arXiv 2311.17042).
    Turbo,
    /// Evenly in log sigma over log sigma (Lu et al. 2022); only from a file, as `use_lu_lambdas`.
    Lu,
}

/// What schedules are called, and their names in settings, which are A1111's where it has them (modules/sd_schedulers.py).
const NAMES: [(Schedule, &[&str], &str); 17] = [
    (Schedule::Discrete, &["discrete", "normal", "uniform"], "Uniform"),
    (Schedule::Karras, &["karras"], "Karras"),
    (Schedule::Exponential, &["exponential"], "Exponential"),
    (Schedule::Polyexponential, &["polyexponential"], "Polyexponential"),
    (Schedule::Beta, &["beta"], "Beta"),
    (Schedule::SgmUniform, &["sgm_uniform"], "SGM Uniform"),
    (Schedule::Simple, &["simple"], "Simple"),
    (Schedule::DdimUniform, &["ddim_uniform", "ddim"], "DDIM"),
    (Schedule::KlOptimal, &["kl_optimal"], "KL Optimal"),
    (Schedule::LinearQuadratic, &["linear_quadratic"], "Linear Quadratic"),
    (Schedule::AlignYourSteps, &["align_your_steps", "ays", "align_your_steps_11"], "Align Your Steps"),
    (Schedule::AlignYourSteps32, &["align_your_steps_32", "ays_32"], "Align Your Steps 32"),
    (Schedule::Gits, &["align_your_steps_gits", "gits"], "Align Your Steps GITS"),
    (Schedule::Vp, &["vp"], "VP"),
    (Schedule::Laplace, &["laplace"], "Laplace"),
    (Schedule::Turbo, &["turbo"], "Turbo"),
    (Schedule::Lu, &["lu"], "Lu"),
];

impl Schedule {
    /// Every schedule that may be asked for by name.
    pub fn names() -> Vec<&'static str> {
        NAMES
            .iter()
            .filter(|(schedule, ..)| *schedule != Schedule::Lu)
            .map(|(_, names, _)| names[0])
            .collect()
    }

    /// Its name in a picture's settings.
    pub fn label(self) -> &'static str {
        self.known().2
    }

    /// Whether diffusers' classes have it too.
    pub fn is_diffusers(self) -> bool {
        use Schedule::*;
        matches!(self, Discrete | Karras | Exponential | Beta | Lu)
    }

    fn known(self) -> &'static (Schedule, &'static [&'static str], &'static str) {
        NAMES.iter().find(|(schedule, ..)| *schedule == self).unwrap_or(&NAMES[0])
    }
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(name: &str) -> Result<Schedule> {
        let given = name.to_ascii_lowercase().replace(' ', "_");
        let found = NAMES.iter().find(|(_, names, _)| names.contains(&given.as_str()));
        found.map(|(schedule, ..)| *schedule).filter(|schedule| *schedule != Schedule::Lu).ok_or_else(|| {
            let names = Schedule::names().join(", ");
            Error::Sampler(format!("no scheduler is called \"{name}\": choose one of {names}"))
        })
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.known().1[0])
    }
}

/// `numpy.linspace(start, end, n)` in float64.
pub(crate) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = (end - start) / (n.max(2) - 1) as f64;
    let mut points: Vec<f64> = (0..n).map(|i| i as f64 * step + start).collect();
    if n > 1 {
        points[n - 1] = end;
    }
    points
}

/// Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho = 7.
pub(crate) fn karras(max: f64, min: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (high, low) = (max.powf(1.0 / RHO), min.powf(1.0 / RHO));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
}

/// Lee et al. 2024, "Beta Sampling is All You Need" (arXiv 2407.12173): quantiles of Beta(0.6, 0.6).
pub(crate) fn beta(max: f64, min: f64, steps: usize) -> Vec<f64> {
    linspace(0.0, 1.0, steps).into_iter().map(|p| min + beta_quantile(1.0 - p, 0.6) * (max - min)).collect()
}

/// The `p`-quantile of the symmetric Beta(a, a) distribution.
pub(crate) fn beta_quantile(p: f64, a: f64) -> f64 {
    // Halves of it are looked for to the last bit, but its middle is known.
    if p == 0.5 {
        return 0.5;
    }
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p, a);
    }
    let (mut low, mut high) = (0.0f64, 0.5f64);
    // By halves to the last bit: a quantile is needed a few dozen times a run.
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        match beta_cdf_ratio(middle, a) < p {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

/// The distribution function of Beta(a, a) at `x <= 1/2`, normalised by its value 1/2 at 1/2.
fn beta_cdf_ratio(x: f64, a: f64) -> f64 {
    0.5 * incomplete_beta(x, a) / incomplete_beta(0.5, a)
}

/// The unnormalised incomplete beta function `B(x; a, a)` for `x <= 1/2`, by its power series
/// `x^a sum_n (1-a)_n / (n! (a + n)) x^n` (DLMF 8.17.7), whose terms shrink at least by half.
fn incomplete_beta(x: f64, a: f64) -> f64 {
    let (mut sum, mut term) = (0.0, 1.0);
    for n in 0..200 {
        let n = f64::from(n);
        sum += term / (a + n);
        term *= (1.0 - a + n) / (n + 1.0) * x;
    }
    x.powf(a) * sum
}
