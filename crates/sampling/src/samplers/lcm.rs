//! Latent consistency models: Luo et al. 2023, arXiv 2310.04378, algorithm 3 (diffusers: scheduling_lcm.py).

use super::ddim::Alphas;
use super::{Class, Descriptor};
use crate::diffusers::SchedulerConfig;
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Sheet, predict};

/// See the file's head.
pub static LCM: Descriptor =
    Descriptor { names: &["lcm"], label: "LCM", class: Class::new("LCMScheduler", FIELDS, program) };

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": null,
    "prediction_type": "epsilon", "steps_offset": 0,
    "clip_sample": false, "clip_sample_range": 1.0, "rescale_betas_zero_snr": false, "set_alpha_to_one": true,
    "thresholding": false, "original_inference_steps": 50, "timestep_scaling": 10.0
}"#;

/// The data's standard deviation in the boundary condition, section 4.1 of the paper.
const SIGMA_DATA: f64 = 0.5;

fn program(config: &SchedulerConfig, steps: usize, _eta: f64) -> Result<Sheet> {
    let visited = timesteps(config, steps)?;
    let alphas = Alphas::new(config);
    let mut drafts = Vec::new();
    for (i, &t) in visited.iter().enumerate() {
        let a = alphas.at(t)?;
        let mut step = Draft::new(t);
        let (x0, _) = predict(config.trained.prediction_type, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let x0 = step.clip(x0, config.clip_sample);
        let scaled = t * config.timestep_scaling;
        let norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / norm, scaled / norm.sqrt());
        let consistent = x0 * out + Lin::X * skip;
        step.rows[0] = match visited.get(i + 1) {
            None => consistent,
            Some(&next) => {
                let a_next = alphas.at(next)?;
                consistent * a_next.sqrt() + Lin::N * (1.0 - a_next).sqrt()
            }
        };
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}

/// Evenly chosen from the `original_inference_steps` timesteps that the model was distilled on.
fn timesteps(config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
    let original = config.original_inference_steps;
    if original > config.trained.num_train_timesteps {
        let hint = format!("at most num_train_timesteps, {}", config.trained.num_train_timesteps);
        return Err(Error::scheduler("original_inference_steps", original.to_string(), hint));
    }
    if steps == 0 || steps > original {
        return Err(Error::Sampler(format!(
            "sampler lcm takes 1 to {original} steps (original_inference_steps), not {steps}"
        )));
    }
    let stride = config.trained.num_train_timesteps / original;
    let ratio = original as f64 / steps as f64;
    let falling = |i: usize| original - (i as f64 * ratio).floor() as usize;
    Ok((0..steps).map(|i| (falling(i) * stride - 1) as f64).collect())
}
