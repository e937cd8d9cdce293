//! Which timesteps and sigmas a class visits. Rounding follows diffusers (float32 tables, numpy's float64 spacings), so
//! that timesteps are equal and sigmas agree to the last place.

use super::class::Asked;
use super::config::{FinalSigma, SchedulerConfig, Spacing};
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::program::Sheet;
use crate::run::{Method, Run};
use crate::schedule::{Schedule, beta, karras, linspace};
use crate::trained::{Prediction, timestep_of};

/// `numpy.interp` of a table over `0..table.len()`.
fn interpolate(table: &[f32], at: f64) -> f64 {
    let last = table.len() - 1;
    if at >= last as f64 {
        return f64::from(table[last]);
    }
    let low = at.max(0.0) as usize;
    let (a, b) = (f64::from(table[low]), f64::from(table[low + 1]));
    (b - a) * (at.max(0.0) - low as f64) + a
}

/// How many training timesteps a run spans and how it divides them: diffusers' schedulers differ in this alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grid {
    /// As many points as steps, rounded to training timesteps (DDIM, PNDM, LCM).
    Rounded,
    /// As many points as steps, fractional where the spacing is `linspace` (Euler, Heun, LMS).
    Fractional,
    /// One point more than steps, the last dropped, rounded (the multistep solvers); counts only the first
    /// `usize` training timesteps.
    Multistep(usize),
}

/// The timesteps of a run, falling from noise to picture (section 3.3 of arXiv 2305.08891 names the spacings).
/// For `trailing` a float ratio may yield one point more than asked for; so it does in numpy.
pub fn timesteps(config: &SchedulerConfig, steps: usize, grid: Grid) -> Result<Vec<f64>> {
    let train = config.trained.num_train_timesteps;
    if steps == 0 || steps > train {
        return Err(Error::Sampler(format!(
            "{steps} steps cannot be taken: the model was trained with {train} timesteps, give 1 to {train}"
        )));
    }
    let (span, points) = match grid {
        Grid::Multistep(span) => (span, steps + 1),
        _ => (train, steps),
    };
    let mut visited: Vec<f64> = match config.timestep_spacing {
        Spacing::Linspace => {
            let mut even = linspace(0.0, span as f64 - 1.0, points);
            match grid {
                Grid::Fractional => even.iter_mut().for_each(|t| *t = f64::from(*t as f32)),
                _ => even.iter_mut().for_each(|t| *t = t.round_ties_even()),
            }
            even
        }
        Spacing::Leading => {
            let ratio = span / points;
            (0..points).map(|i| (i * ratio) as f64 + config.steps_offset as f64).collect()
        }
        Spacing::Trailing => {
            let ratio = train as f64 / steps as f64;
            // numpy.arange fills from its first difference, whose rounding is part of the result.
            let delta = (span as f64 - ratio) - span as f64;
            let count = (span as f64 / ratio).ceil() as usize;
            let back = |i: usize| (span as f64 + i as f64 * delta).round_ties_even() - 1.0;
            return Ok((0..count).map(back).collect());
        }
    };
    visited.reverse();
    visited.truncate(steps);
    Ok(visited)
}

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
    let table = config.trained.sigmas();
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
        // No class has the others.
        _ => None,
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

/// The starting sample's scale in the variance-exploding view: with `leading` spacing diffusers adds the unit
/// variance of the clean sample, with the others it does not.
fn initial_sigma(config: &SchedulerConfig, sigmas: &[f32]) -> f64 {
    let max = f64::from(sigmas.iter().copied().fold(0.0, f32::max));
    match config.timestep_spacing {
        Spacing::Leading => (max * max + 1.0).sqrt(),
        Spacing::Linspace | Spacing::Trailing => max,
    }
}

/// The program of a class that is a method over sigmas: Euler's, Heun's, LMS's.
pub fn over_sigmas(config: &SchedulerConfig, asked: Asked, method: Method) -> Result<Sheet> {
    let Asked { steps, begin, is_late, .. } = asked;
    let found = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut times = found.timesteps;
    if config.continuous_timesteps && config.trained.prediction_type == Prediction::V {
        times = found.sigmas.iter().take(times.len()).map(|s| 0.25 * f64::from(*s).ln()).collect();
    }
    let start = initial_sigma(config, &found.sigmas);
    let before = found.sigmas[..if is_late { begin } else { 0 }].iter().map(|s| f64::from(*s)).collect();
    let run = Run {
        before,
        // Evenly in log sigma there is one more than is gone to.
        sigmas: found.sigmas.into_iter().take(times.len() + 1).skip(begin).map(f64::from).collect(),
        times: times.into_iter().skip(begin).collect(),
        clip: config.clip(),
        ..Run::new(&config.trained, Dialect::Diffusers)
    };
    let mut sheet = Sheet { start: Some(start), ..Sheet::default() };
    method(&run, &mut sheet)?;
    Ok(sheet)
}
