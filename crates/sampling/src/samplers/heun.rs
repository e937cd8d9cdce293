//! Heun's second-order method over sigma: Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn
//! (diffusers: scheduling_heun_discrete.py). Each step but the last evaluates the model twice.

use super::Descriptor;
use crate::diffusers::{Class, Grid, SchedulerConfig, Span, initial_sigma, sigmas, timesteps};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Sheet, denoised};

/// See the file's head.
pub static HEUN: Descriptor = Descriptor {
    names: &["heun"],
    label: "Heun",
    class: Class { exponential_betas: true, ..Class::new("HeunDiscreteScheduler", FIELDS, program) },
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "steps_offset": 0, "timestep_spacing": "linspace",
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "clip_sample": false, "clip_sample_range": 1.0
}"#;

const BEFORE: usize = 1;
const SLOPE: usize = 2;

fn program(config: &SchedulerConfig, steps: usize, _eta: f64) -> Result<Sheet> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        let mut euler = Draft::at_sigma(t, sigma);
        let slope = (Lin::X
            - euler.clip(denoised(config.trained.prediction_type, sigma), config.clip_sample))
            / sigma;
        euler.rows[0] = Lin::X + slope * (next - sigma);
        let Some(&t_next) = run.timesteps.get(i + 1) else {
            drafts.push(euler);
            break;
        };
        euler.rows[BEFORE] = Lin::X;
        euler.rows[SLOPE] = slope;
        euler.ends_step = false;
        let mut correction = Draft::at_sigma(t_next, next);
        let slope = (Lin::X
            - correction.clip(denoised(config.trained.prediction_type, next), config.clip_sample))
            / next;
        let mean = (Lin::register(SLOPE) + slope) / 2.0;
        correction.rows[0] = Lin::register(BEFORE) + mean * (next - sigma);
        drafts.extend([euler, correction]);
    }
    Ok(Sheet::new(initial_sigma(config, &run.sigmas), drafts))
}
