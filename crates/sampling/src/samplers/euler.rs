//! Euler's method over sigma, Karras et al. 2022, arXiv 2206.00364, algorithm 2 without correction
//! (diffusers: scheduling_euler_discrete.py, which turns no noise up; k-diffusion: sampling.py, `sample_euler`).

use super::Descriptor;
use crate::diffusers::{Asked, Class, SchedulerConfig, over_sigmas};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// See the file's head.
pub static EULER: Descriptor = Descriptor {
    names: &["euler"],
    label: "Euler",
    class: Some(Class::new("EulerDiscreteScheduler", FIELDS, program)),
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
