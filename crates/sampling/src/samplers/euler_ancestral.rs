//! Euler with part of the noise drawn anew each step: k-diffusion's `euler_ancestral` (diffusers:
//! scheduling_euler_ancestral_discrete.py).

use super::Descriptor;
use crate::diffusers::{Class, Grid, PREDICTIONS, SchedulerConfig, Span, initial_sigma, sigmas, timesteps};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Sheet, denoised};

/// See the file's head.
pub static EULER_ANCESTRAL: Descriptor = Descriptor {
    names: &["euler_a", "euler_ancestral"],
    label: "Euler a",
    class: Class {
        predictions: PREDICTIONS.split_at(2).0,
        ..Class::new("EulerAncestralDiscreteScheduler", FIELDS, program)
    },
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "rescale_betas_zero_snr": false
}"#;

fn program(config: &SchedulerConfig, steps: usize, _eta: f64) -> Result<Sheet> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        // The step goes down to less noise than the next sigma; fresh noise makes up the rest.
        let up = (next * next * (sigma * sigma - next * next)).sqrt() / sigma;
        let down = (next * next - up * up).sqrt();
        let mut step = Draft::at_sigma(t, sigma);
        let slope = (Lin::X - denoised(config.trained.prediction_type, sigma)) / sigma;
        step.rows[0] = Lin::X + slope * (down - sigma) + Lin::N * up;
        drafts.push(step);
    }
    Ok(Sheet::new(initial_sigma(config, &run.sigmas), drafts))
}
