//! Euler's method over sigma, Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn and correction, and
//! k-diffusion's ancestral form of it (diffusers: scheduling_euler_discrete.py,
//! scheduling_euler_ancestral_discrete.py).

use super::config::{Prediction, SchedulerConfig};
use super::program::{Draft, denoised, initial_sigma};
use super::schedule::{Grid, timesteps};
use super::sigmas::{Span, sigmas};
use super::{Lin, Program};
use crate::error::Result;

pub(super) fn program(config: &SchedulerConfig, steps: usize) -> Result<Program> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        let told = match config.continuous_timesteps && config.prediction_type == Prediction::V {
            true => 0.25 * sigma.ln(),
            false => t,
        };
        let mut step = Draft::at_sigma(told, sigma);
        let slope = (Lin::X - denoised(config, sigma)) / sigma;
        step.rows[0] = Lin::X + slope * (next - sigma);
        drafts.push(step);
    }
    Program::assemble(config.sampler, initial_sigma(config, &run.sigmas), drafts)
}

pub(super) fn ancestral(config: &SchedulerConfig, steps: usize) -> Result<Program> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        // The step goes down to less noise than the next sigma; fresh noise makes up the rest.
        let up = (next * next * (sigma * sigma - next * next)).sqrt() / sigma;
        let down = (next * next - up * up).sqrt();
        let mut step = Draft::at_sigma(t, sigma);
        let slope = (Lin::X - denoised(config, sigma)) / sigma;
        step.rows[0] = Lin::X + slope * (down - sigma) + Lin::N * up;
        drafts.push(step);
    }
    Program::assemble(config.sampler, initial_sigma(config, &run.sigmas), drafts)
}
