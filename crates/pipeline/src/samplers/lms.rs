//! Linear multistep (Adams-Bashforth) over sigma, of order 4 where the history allows (k-diffusion's `lms`;
//! diffusers: scheduling_lms_discrete.py).

use super::config::{Schedule, SchedulerConfig};
use super::program::{Draft, denoised, initial_sigma};
use super::schedule::{Grid, timesteps};
use super::sigmas::{Span, sigmas};
use super::{Lin, Program};
use crate::error::Result;

const ORDER: usize = 4;

pub(super) fn program(config: &SchedulerConfig, steps: usize) -> Result<Program> {
    let mut config = config.clone();
    if config.schedule == Schedule::Karras {
        (config.sigma_min, config.sigma_max) = (None, None);
    }
    let run = sigmas(&config, timesteps(&config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let sigma = f64::from(run.sigmas[i]);
        let mut step = Draft::at_sigma(t, sigma);
        // Slopes, newest first; register k holds that of k steps ago.
        let mut slopes: [Lin; ORDER] = std::array::from_fn(Lin::register);
        slopes[0] = (Lin::X - denoised(&config, sigma)) / sigma;
        let order = ORDER.min(i + 1);
        let past: Vec<f64> = (0..order).map(|k| f64::from(run.sigmas[i - k])).collect();
        step.rows[0] = Lin::X;
        for (k, &slope) in slopes[..order].iter().enumerate() {
            step.rows[0] = step.rows[0] + slope * weight(&past, k, f64::from(run.sigmas[i + 1]));
        }
        step.rows[1..ORDER].copy_from_slice(&slopes[..ORDER - 1]);
        drafts.push(step);
    }
    Program::assemble(config.sampler, initial_sigma(&config, &run.sigmas), drafts)
}

/// The integral from `past[0]` to `end` of the Lagrange polynomial that is 1 at `past[k]` and 0 at the others. Two
/// Gauss-Legendre points are exact up to degree 3, which is all that four points of history need.
fn weight(past: &[f64], k: usize, end: f64) -> f64 {
    let (middle, half) = (0.5 * (past[0] + end), 0.5 * (end - past[0]));
    let lagrange = |tau: f64| -> f64 {
        let others = past.iter().enumerate().filter(|(j, _)| *j != k);
        others.map(|(_, &other)| (tau - other) / (past[k] - other)).product()
    };
    let node = half / 3f64.sqrt();
    half * (lagrange(middle - node) + lagrange(middle + node))
}
