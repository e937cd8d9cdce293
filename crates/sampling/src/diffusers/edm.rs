//! What the classes for models that were trained on sigmas of a range have in common (scheduling_edm_euler.py,
//! scheduling_edm_dpmsolver_multistep.py).

use super::class::Asked;
use super::config::{FinalSigma, SchedulerConfig};
use crate::error::{Error, Result};
use crate::program::Draft;
use crate::trained::Edm;
use calotype_field::Field;

/// The training, and the run's sigmas with its end.
pub(crate) fn edm_sigmas(config: &SchedulerConfig, asked: Asked) -> Result<(Edm, Vec<f64>)> {
    let edm = config.trained.edm.ok_or_else(|| Error::Untrained("the model says no sigma_data".into()))?;
    let most = config.trained.num_train_timesteps;
    if asked.steps == 0 || asked.steps > most {
        return Err(Error::Sampler(format!("{} {}: use 1 to {most}", Field::Steps, asked.steps)));
    }
    let sigmas = edm.sigmas(asked.steps).into_iter().map(f64::from);
    // What is left of the noise at the end is the last step's own in Euler's class, and the smallest sigma in DPM-Solver's:
    // they are the same.
    let end = match config.final_sigmas {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => edm.sigma_min,
    };
    Ok((edm, sigmas.chain([end]).collect()))
}

/// An evaluation at a sigma.
pub(crate) fn edm_draft(edm: &Edm, sigma: f64) -> Draft {
    let level = Some([1.0, sigma]);
    Draft { input_scale: edm.input_scale(sigma), level, ..Draft::new(edm.time(sigma)) }
}

/// What multiplies unit noise at the start.
pub(crate) fn edm_start(edm: &Edm) -> f64 {
    (edm.sigma_max * edm.sigma_max + 1.0).sqrt()
}
