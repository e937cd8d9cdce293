//! Heun's second-order method over sigma: Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn
//! (diffusers: scheduling_heun_discrete.py). Each step but the last evaluates the model twice.

use super::config::SchedulerConfig;
use super::program::{Draft, denoised, initial_sigma};
use super::schedule::{Grid, timesteps};
use super::sigmas::{Span, sigmas};
use super::{Lin, Program};
use crate::error::Result;

const BEFORE: usize = 1;
const SLOPE: usize = 2;

pub(super) fn program(config: &SchedulerConfig, steps: usize) -> Result<Program> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        let mut euler = Draft::at_sigma(t, sigma);
        let slope = (Lin::X - euler.clip(denoised(config, sigma), config)) / sigma;
        euler.rows[0] = Lin::X + slope * (next - sigma);
        let Some(&t_next) = run.timesteps.get(i + 1) else {
            drafts.push(euler);
            break;
        };
        euler.rows[BEFORE] = Lin::X;
        euler.rows[SLOPE] = slope;
        euler.ends_step = false;
        let mut correction = Draft::at_sigma(t_next, next);
        let slope = (Lin::X - correction.clip(denoised(config, next), config)) / next;
        let mean = (Lin::register(SLOPE) + slope) / 2.0;
        correction.rows[0] = Lin::register(BEFORE) + mean * (next - sigma);
        drafts.extend([euler, correction]);
    }
    Program::assemble(config.sampler, initial_sigma(config, &run.sigmas), drafts)
}
