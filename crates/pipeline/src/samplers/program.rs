//! From a sampler's symbolic steps to the program that executors run.

use super::config::{Prediction, SchedulerConfig, Spacing};
use super::{BASIS, Clamp, Lin, NOISE, Program, REGISTERS, Sampler, Step};
use crate::error::{Error, Result};

/// A step as a sampler writes it down.
pub(super) struct Draft {
    pub timestep: f64,
    pub input_scale: f64,
    /// New registers; those left at zero are forgotten.
    pub rows: [Lin; REGISTERS],
    pub ends_step: bool,
    clamp: Option<(Lin, f64)>,
}

impl Draft {
    pub fn new(timestep: f64) -> Draft {
        Draft { timestep, input_scale: 1.0, rows: [Lin::ZERO; REGISTERS], ends_step: true, clamp: None }
    }

    /// A step of the variance-exploding view, where `x = x0 + sigma * noise` and the model, trained on unit
    /// variance, sees `x / sqrt(sigma^2 + 1)`.
    pub fn at_sigma(timestep: f64, sigma: f64) -> Draft {
        Draft { input_scale: alpha_of(sigma), ..Draft::new(timestep) }
    }

    /// `x0`, clamped where the configuration says so.
    pub fn clip(&mut self, x0: Lin, config: &SchedulerConfig) -> Lin {
        match config.clip_sample {
            None => x0,
            Some(range) => {
                self.clamp = Some((x0, range));
                Lin::C
            }
        }
    }
}

/// `alpha = 1 / sqrt(sigma^2 + 1)`: what scales a variance-exploding sample to unit variance.
pub(super) fn alpha_of(sigma: f64) -> f64 {
    1.0 / (sigma * sigma + 1.0).sqrt()
}

/// The clean sample and the noise in `x = alpha * x0 + sigma * noise`, as far as model output `m` tells.
pub(super) fn predict(prediction: Prediction, x: Lin, m: Lin, alpha: f64, sigma: f64) -> (Lin, Lin) {
    match prediction {
        Prediction::Epsilon => ((x - m * sigma) / alpha, m),
        Prediction::Sample => (m, (x - m * alpha) / sigma),
        Prediction::V => (x * alpha - m * sigma, m * alpha + x * sigma),
    }
}

/// The clean sample in `x = x0 + sigma * noise`.
pub(super) fn denoised(config: &SchedulerConfig, sigma: f64) -> Lin {
    let alpha = alpha_of(sigma);
    predict(config.prediction_type, Lin::X * alpha, Lin::M, alpha, sigma * alpha).0
}

/// The starting sample's scale in the variance-exploding view: with `leading` spacing diffusers adds the unit
/// variance of the clean sample, with the others it does not.
pub(super) fn initial_sigma(config: &SchedulerConfig, sigmas: &[f32]) -> f64 {
    let max = f64::from(sigmas.iter().copied().fold(0.0, f32::max));
    match config.timestep_spacing {
        Spacing::Leading => (max * max + 1.0).sqrt(),
        Spacing::Linspace | Spacing::Trailing => max,
    }
}

impl Program {
    /// Numbers the noises, forgets what is never read again, and checks that every coefficient is finite.
    pub(super) fn assemble(sampler: Sampler, init_noise_sigma: f64, drafts: Vec<Draft>) -> Result<Program> {
        let mut live = [false; REGISTERS];
        live[0] = true;
        let mut steps = Vec::with_capacity(drafts.len());
        for draft in drafts.into_iter().rev() {
            let mut rows = [[0.0; BASIS]; REGISTERS];
            for (r, row) in draft.rows.iter().enumerate().filter(|(r, _)| live[*r]) {
                rows[r] = row.row();
            }
            let clamp = draft.clamp.map(|(row, range)| Clamp { row: row.row(), range: range as f32 });
            let mut read: Vec<&[f32; BASIS]> = rows.iter().collect();
            read.extend(clamp.as_ref().map(|c| &c.row));
            if read.iter().any(|row| row.iter().any(|v| !v.is_finite())) {
                return Err(Error::Sampler(format!(
                    "sampler {sampler} cannot run this scheduler configuration: it divides by zero at timestep {} \
                     (with zero terminal SNR the model must predict v or the sample); choose another --sampler",
                    draft.timestep
                )));
            }
            live = std::array::from_fn(|r| r == 0 || read.iter().any(|row| row[r] != 0.0));
            // Which noise is settled below; a noise of weight zero is not drawn.
            let noise = rows.iter().any(|row| row[NOISE] != 0.0).then_some(0);
            let (timestep, input_scale) = (draft.timestep as f32, draft.input_scale as f32);
            steps.push(Step { timestep, input_scale, clamp, rows, noise, ends_step: draft.ends_step });
        }
        steps.reverse();
        let mut noises = 0;
        for noise in steps.iter_mut().filter_map(|step| step.noise.as_mut()) {
            *noise = noises;
            noises += 1;
        }
        Ok(Program { init_noise_sigma: init_noise_sigma as f32, steps, noises })
    }

    /// How many registers the program touches, `1..=REGISTERS`: what the loop must allocate.
    pub fn registers(&self) -> usize {
        let written = |r: usize| self.steps.iter().any(|s| s.rows[r].iter().any(|&v| v != 0.0));
        (1..REGISTERS).rev().find(|&r| written(r)).map_or(1, |r| r + 1)
    }
}
