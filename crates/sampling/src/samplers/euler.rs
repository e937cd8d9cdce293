//! Euler's method over sigma, Karras et al. 2022, arXiv 2206.00364, algorithm 2 without correction
//! (diffusers: scheduling_euler_discrete.py, which turns no noise up; k-diffusion: sampling.py, `sample_euler`).

use super::Descriptor;
use crate::diffusers::{
    Asked, Class, PREDICTIONS, SchedulerConfig, edm_draft, edm_sigmas, edm_start, over_sigmas,
};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// See the file's head.
pub static EULER: Descriptor = Descriptor {
    names: &["euler"],
    label: "Euler",
    class: Some(Class::new("EulerDiscreteScheduler", FIELDS, program)),
    edm: Some(Class {
        predictions: PREDICTIONS.split_at(2).0,
        ..Class::new("EDMEulerScheduler", EDM_FIELDS, edm_program)
    }),
    k: Some(solve),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "rescale_betas_zero_snr": false, "interpolation_type": "linear", "timestep_type": "discrete",
    "final_sigmas_type": "zero"
}"#;

const EDM_FIELDS: &str = r#"{
    "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "sigma_schedule": "karras", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "rho": 7.0, "final_sigmas_type": "zero"
}"#;

/// diffusers: scheduling_edm_euler.py.
fn edm_program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let (edm, sigmas) = edm_sigmas(config, asked)?;
    let drafts = sigmas.windows(2).skip(asked.begin).map(|pair| {
        let mut step = edm_draft(&edm, pair[0]);
        let clean = edm.clean(config.trained.prediction_type, Lin::X, Lin::M, pair[0]);
        step.rows[0] = Lin::X + (Lin::X - clean) / pair[0] * (pair[1] - pair[0]);
        step
    });
    Ok(Sheet::new(edm_start(&edm), drafts.collect()))
}

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    over_sigmas(config, asked, solve)
}

pub(super) fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let sigma = run.churn(sheet, i);
        let mut step = run.at(sigma);
        let slope = run.slope(&mut step, sigma);
        step.rows[0] = Lin::X + slope * (run.sigmas[i + 1] - sigma);
        sheet.push(step);
    }
    Ok(())
}
