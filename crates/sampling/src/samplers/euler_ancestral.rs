//! Euler with part of the noise drawn anew each step: k-diffusion's `euler_ancestral` (diffusers:
//! scheduling_euler_ancestral_discrete.py).

use super::Descriptor;
use crate::diffusers::{Asked, Class, PREDICTIONS, SchedulerConfig, over_sigmas};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// See the file's head.
pub static EULER_ANCESTRAL: Descriptor = Descriptor {
    names: &["euler_a", "euler_ancestral"],
    label: "Euler a",
    class: Some(Class {
        predictions: PREDICTIONS.split_at(2).0,
        ..Class::new("EulerAncestralDiscreteScheduler", FIELDS, program)
    }),
    k: Some(solve),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "rescale_betas_zero_snr": false
}"#;

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    over_sigmas(config, asked, solve)
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        // The step goes down to less noise than the next sigma; fresh noise makes up the rest.
        let (down, up) = run.ancestral(sigma, next);
        let mut step = run.at(sigma);
        let slope = run.slope(&mut step, sigma);
        step.rows[0] = Lin::X + slope * (down - sigma);
        if next > 0.0 {
            step.add(Draw::Fresh, up * run.knobs.s_noise);
        }
        sheet.push(step);
    }
    Ok(())
}
