//! Denoising diffusion implicit models: Song et al. 2021, arXiv 2010.02502, equations 12 and 16
//! (diffusers: scheduling_ddim.py).

use super::Descriptor;
use crate::diffusers::{Class, Grid, SchedulerConfig, timesteps};
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Sheet, predict};

/// See the file's head.
pub static DDIM: Descriptor =
    Descriptor { names: &["ddim"], label: "DDIM", class: Class::new("DDIMScheduler", FIELDS, program) };

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 0,
    "clip_sample": true, "clip_sample_range": 1.0, "rescale_betas_zero_snr": false,
    "set_alpha_to_one": true, "thresholding": false
}"#;

/// `alphas_cumprod` by timestep, with what stands before the first.
pub(super) struct Alphas {
    table: Vec<f32>,
    before_first: f64,
}

impl Alphas {
    pub fn new(config: &SchedulerConfig) -> Alphas {
        let table = config.trained.alphas_cumprod();
        let before_first = if config.set_alpha_to_one { 1.0 } else { f64::from(table[0]) };
        Alphas { table, before_first }
    }

    /// The cumulative alpha at `timestep`; `leading` spacing with too many steps runs past the table.
    pub fn at(&self, timestep: f64) -> Result<f64> {
        match timestep < 0.0 {
            true => Ok(self.before_first),
            false => self.table.get(timestep as usize).map(|&a| f64::from(a)).ok_or_else(|| {
                let last = self.table.len() - 1;
                Error::Sampler(format!(
                    "timestep {timestep} is past the model's last, {last}: take fewer steps"
                ))
            }),
        }
    }
}

fn program(config: &SchedulerConfig, steps: usize, eta: f64) -> Result<Sheet> {
    let alphas = Alphas::new(config);
    let stride = (config.trained.num_train_timesteps / steps.max(1)) as f64;
    let mut drafts = Vec::new();
    for t in timesteps(config, steps, Grid::Rounded)? {
        let (a, a_prev) = (alphas.at(t)?, alphas.at(t - stride)?);
        let mut step = Draft::new(t);
        let (x0, noise) = predict(config.trained.prediction_type, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let x0 = step.clip(x0, config.clip_sample);
        let variance = (1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev);
        let deviation = eta * variance.sqrt();
        let direction = (1.0 - a_prev - deviation * deviation).sqrt();
        step.rows[0] = x0 * a_prev.sqrt() + noise * direction + Lin::N * deviation;
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}
