//! Trajectory consistency distillation: Zheng et al. 2024, arXiv 2402.19159, algorithm 2 (diffusers: scheduling_tcd.py).

use super::ddim::Alphas;
use super::lcm::timesteps;
use super::{Class, Descriptor};
use crate::diffusers::{Asked, SchedulerConfig};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Sheet, predict};

/// See the file's head. `eta` is the paper's gamma.
pub static TCD: Descriptor = Descriptor {
    names: &["tcd"],
    label: "TCD",
    eta: 0.3,
    class: Some(Class::new("TCDScheduler", FIELDS, program)),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": null,
    "prediction_type": "epsilon", "steps_offset": 0, "rescale_betas_zero_snr": false, "original_inference_steps": 50
}"#;

/// Down the trajectory to `(1 - eta)` of the next timestep, and with fresh noise up to that again.
fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let visited = timesteps(config, asked.steps, "tcd")?;
    let alphas = Alphas::new(config);
    let mut drafts = Vec::new();
    for (i, &t) in visited.iter().enumerate().skip(asked.begin) {
        let next = visited.get(i + 1).copied();
        // PyTorch multiplies whole timesteps in f32.
        let low = ((1.0 - asked.eta) as f32 * next.unwrap_or(0.0) as f32).floor();
        let (a, a_low) = (alphas.at(t)?, alphas.at(f64::from(low))?);
        let mut step = Draft::at_alpha(t, a);
        let (x0, noise) = predict(config.trained.prediction_type, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let reached = x0 * a_low.sqrt() + noise * (1.0 - a_low).sqrt();
        step.rows[0] = match next.filter(|_| asked.eta > 0.0) {
            None => reached,
            Some(next) => {
                let share = alphas.at(next)? / a_low;
                reached * share.sqrt() + Lin::N * (1.0 - share).max(0.0).sqrt()
            }
        };
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}
