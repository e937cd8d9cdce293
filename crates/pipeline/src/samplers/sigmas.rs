//! Noise schedules: the falling sigmas of a run, chosen by a formula instead of by evenly spaced timesteps.

use super::config::{FinalSigma, Schedule, SchedulerConfig};
use super::schedule::{interpolate, linspace, training_sigmas};

/// The sigmas of a run and the timesteps they stand for.
#[derive(Clone, Debug)]
pub struct Sigmas {
    /// What the model is told at each of `sigmas[..n]`; fractional where a formula chose the sigma.
    pub timesteps: Vec<f64>,
    /// `n + 1` values, falling; the last is where the run ends.
    pub sigmas: Vec<f32>,
}

/// Which sigmas a formula spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// From the first to the last visited timestep (Euler, Heun, LMS).
    Visited,
    /// All training timesteps (the multistep solvers).
    Trained,
}

/// Sigmas at the visited `timesteps`, replaced by the configuration's formula where it has one.
pub fn sigmas(config: &SchedulerConfig, timesteps: Vec<f64>, steps: usize, span: Span) -> Sigmas {
    let table = training_sigmas(config);
    let mut visited: Vec<f64> = match config.log_linear_interpolation {
        false => timesteps.iter().map(|&t| interpolate(&table, t)).collect(),
        true => {
            let (low, high) = (f64::from(table[0].ln()), f64::from(table[table.len() - 1].ln()));
            linspace(high, low, steps + 1).into_iter().map(|log| f64::from(log.exp() as f32)).collect()
        }
    };
    let (first, last) = match span {
        Span::Visited => (visited[0], visited[visited.len() - 1]),
        Span::Trained => (f64::from(table[table.len() - 1]), f64::from(table[0])),
    };
    let (max, min) = (config.sigma_max.unwrap_or(first), config.sigma_min.unwrap_or(last));
    let formula = match config.schedule {
        Schedule::Discrete => None,
        Schedule::Karras => Some(karras(max, min, steps)),
        Schedule::Exponential => {
            Some(linspace(max.ln(), min.ln(), steps).into_iter().map(f64::exp).collect::<Vec<_>>())
        }
        Schedule::Beta => Some(beta(max, min, steps)),
        Schedule::Lu => {
            let (high, low) = (f64::from((first as f32).ln()), f64::from((last as f32).ln()));
            Some(linspace(0.0, 1.0, steps).into_iter().map(|r| (high + r * (low - high)).exp()).collect())
        }
    };
    let mut timesteps = timesteps;
    if let Some(formula) = formula {
        let logs: Vec<f32> = table.iter().map(|s| s.ln()).collect();
        timesteps = formula.iter().map(|&s| timestep_of(s, &logs)).collect();
        visited = formula;
    }
    let end = match config.final_sigmas {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => table[0],
    };
    let sigmas = visited.iter().map(|&s| s as f32).chain([end]).collect();
    Sigmas { timesteps, sigmas }
}

/// Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho = 7.
fn karras(max: f64, min: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (high, low) = (max.powf(1.0 / RHO), min.powf(1.0 / RHO));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
}

/// Lee et al. 2024, "Beta Sampling is All You Need" (arXiv 2407.12173): quantiles of Beta(0.6, 0.6).
fn beta(max: f64, min: f64, steps: usize) -> Vec<f64> {
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

/// The fractional timestep whose training sigma is `sigma`: linear in log sigma between neighbours.
fn timestep_of(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let below = log_sigmas.iter().rposition(|&l| log_sigma >= f64::from(l)).unwrap_or(0);
    let low = below.min(log_sigmas.len() - 2);
    let (a, b) = (log_sigmas[low], log_sigmas[low + 1]);
    let w = ((f64::from(a) - log_sigma) / f64::from(a - b)).clamp(0.0, 1.0);
    (1.0 - w) * low as f64 + w * (low + 1) as f64
}
