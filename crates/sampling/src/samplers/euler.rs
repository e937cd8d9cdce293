//! Euler's method over sigma, Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn and correction
//! (diffusers: scheduling_euler_discrete.py).

use super::Descriptor;
use crate::diffusers::{Class, Grid, SchedulerConfig, Span, initial_sigma, sigmas, timesteps};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Sheet, denoised};
use crate::trained::Prediction;

/// See the file's head.
pub static EULER: Descriptor = Descriptor {
    names: &["euler"],
    label: "Euler",
    class: Class::new("EulerDiscreteScheduler", FIELDS, program),
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "rescale_betas_zero_snr": false, "interpolation_type": "linear", "timestep_type": "discrete",
    "final_sigmas_type": "zero"
}"#;

fn program(config: &SchedulerConfig, steps: usize, _eta: f64) -> Result<Sheet> {
    let run = sigmas(config, timesteps(config, steps, Grid::Fractional)?, steps, Span::Visited);
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate() {
        let (sigma, next) = (f64::from(run.sigmas[i]), f64::from(run.sigmas[i + 1]));
        let told = match config.continuous_timesteps && config.trained.prediction_type == Prediction::V {
            true => 0.25 * sigma.ln(),
            false => t,
        };
        let mut step = Draft::at_sigma(told, sigma);
        let slope = (Lin::X - denoised(config.trained.prediction_type, sigma)) / sigma;
        step.rows[0] = Lin::X + slope * (next - sigma);
        drafts.push(step);
    }
    Ok(Sheet::new(initial_sigma(config, &run.sigmas), drafts))
}
