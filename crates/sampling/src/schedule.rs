//! Noise schedules by name: formulas for the falling sigmas of a run, in place of evenly spaced timesteps.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The noise schedule: how the sigmas of a run are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// At the visited training timesteps.
    #[default]
    Discrete,
    /// Karras et al. 2022.
    Karras,
    /// Evenly in log sigma.
    Exponential,
    /// Quantiles of a beta distribution (Lee et al. 2024).
    Beta,
    /// Evenly in log sigma over log sigma (Lu et al. 2022); only from a file, as `use_lu_lambdas`.
    Lu,
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(name: &str) -> Result<Schedule> {
        match name.to_ascii_lowercase().as_str() {
            "discrete" | "normal" => Ok(Schedule::Discrete),
            "karras" => Ok(Schedule::Karras),
            "exponential" => Ok(Schedule::Exponential),
            "beta" => Ok(Schedule::Beta),
            _ => Err(Error::Sampler(format!(
                "no scheduler is called \"{name}\": choose discrete, karras, exponential or beta"
            ))),
        }
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
        f.write_str(match self {
            Schedule::Discrete => "discrete",
            Schedule::Karras => "karras",
            Schedule::Exponential => "exponential",
            Schedule::Beta => "beta",
            Schedule::Lu => "lu",
        })
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
fn beta_quantile(p: f64, a: f64) -> f64 {
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
