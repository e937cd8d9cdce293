//! Heun's second-order method over sigma: Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn
//! (diffusers: scheduling_heun_discrete.py). Each step but the last evaluates the model twice.

use super::Descriptor;
use crate::diffusers::{Asked, Class, SchedulerConfig, over_sigmas};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// See the file's head.
pub static HEUN: Descriptor = Descriptor {
    names: &["heun"],
    label: "Heun",
    class: Some(Class { exponential_betas: true, ..Class::new("HeunDiscreteScheduler", FIELDS, program) }),
    k: Some(solve),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "steps_offset": 0, "timestep_spacing": "linspace",
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "clip_sample": false, "clip_sample_range": 1.0
}"#;

const BEFORE: usize = 1;
const SLOPE: usize = 2;

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    over_sigmas(config, asked, solve)
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let sigma = run.churn(sheet, i);
        step(run, sheet, sigma, run.sigmas[i + 1]);
    }
    Ok(())
}

/// One step of the method; to zero it is Euler's.
pub(super) fn step(run: &Run, sheet: &mut Sheet, from: f64, to: f64) {
    let mut euler = run.at(from);
    let slope = run.slope(&mut euler, from);
    euler.rows[0] = Lin::X + slope * (to - from);
    if to == 0.0 {
        return sheet.push(euler);
    }
    (euler.rows[BEFORE], euler.rows[SLOPE]) = (Lin::X, slope);
    euler.ends_step = false;
    sheet.push(euler);
    let mut correction = run.at(to);
    let slope = run.slope(&mut correction, to);
    correction.rows[0] = Lin::register(BEFORE) + (Lin::register(SLOPE) + slope) / 2.0 * (to - from);
    sheet.push(correction);
}
