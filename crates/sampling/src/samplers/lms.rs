//! Linear multistep (Adams-Bashforth) over sigma, of order 4 where the history allows (k-diffusion's `lms`;
//! diffusers: scheduling_lms_discrete.py).

use super::Descriptor;
use crate::diffusers::{Asked, Class, SchedulerConfig, over_sigmas};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// See the file's head.
pub static LMS: Descriptor = Descriptor {
    names: &["lms"],
    label: "LMS",
    class: Some(Class { karras_bounds: false, ..Class::new("LMSDiscreteScheduler", FIELDS, program) }),
    k: Some(solve),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false
}"#;

const ORDER: usize = 4;

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    over_sigmas(config, asked, solve)
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let mut step = run.at(sigma);
        // Slopes, newest first; register k holds that of k steps ago.
        let mut slopes: [Lin; ORDER] = std::array::from_fn(Lin::register);
        slopes[0] = run.slope(&mut step, sigma);
        // A class that begins late weighs the slopes that it has as if those before them were there.
        let visited = run.before.iter().chain(&run.sigmas[..=i]).rev();
        let past: Vec<f64> = visited.take(ORDER).copied().collect();
        step.rows[0] = Lin::X;
        for (k, &slope) in slopes[..past.len().min(i + 1)].iter().enumerate() {
            step.rows[0] = step.rows[0] + slope * weight(&past, k, next);
        }
        step.rows[1..ORDER].copy_from_slice(&slopes[..ORDER - 1]);
        sheet.push(step);
    }
    Ok(())
}

/// The integral from `past[0]` to `end` of the Lagrange polynomial that is 1 at `past[k]` and 0 at the others. Two
/// Gauss-Legendre points are exact up to degree 3, which is all that four points of history need.
fn weight(past: &[f64], k: usize, end: f64) -> f64 {
    let (middle, half) = (0.5 * (past[0] + end), 0.5 * (end - past[0]));
    let lagrange = |tau: f64| -> f64 {
        let others = past.iter().enumerate().filter(|(j, _)| *j != k);
        others.map(|(_, &other)| (tau - other) / (past[k] - other)).product()
    };
    let node = half / 3f64.sqrt();
    half * (lagrange(middle - node) + lagrange(middle + node))
}
