//! Extended reverse-time stochastic solver, of order 3: Cui et al. 2023, arXiv 2309.06169 (ComfyUI:
//! k_diffusion/sampling.py, `sample_er_sde`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// ER-SDE.
pub static ER_SDE: Descriptor =
    Descriptor { names: &["er_sde"], label: "ER SDE", k: Some(solve), ..Descriptor::NONE };

/// The clean sample of the step before, and its slope.
const LAST: usize = 1;
const SLOPE: usize = 2;
/// Points that the integrals are summed over.
const POINTS: usize = 200;

/// The paper's noise scaling.
fn scaling(sigma: f64) -> f64 {
    sigma * (sigma.powf(0.3).exp() + 10.0)
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        step.rows[0] = clean;
        step.rows[LAST] = clean;
        if next > 0.0 {
            let ratio = scaling(next) / scaling(sigma);
            let fall = next - sigma;
            let points = (0..POINTS).map(|k| next - fall * k as f64 / POINTS as f64);
            let width = -fall / POINTS as f64;
            step.rows[0] = Lin::X * ratio + clean * (1.0 - ratio);
            if i > 0 {
                let sum: f64 = points.clone().map(|p| width / scaling(p)).sum();
                let slope = (clean - Lin::register(LAST)) / (sigma - run.sigmas[i - 1]);
                step.rows[0] = step.rows[0] + slope * (fall + sum * scaling(next));
                step.rows[SLOPE] = slope;
                if i > 1 {
                    let sum: f64 = points.map(|p| (p - sigma) * width / scaling(p)).sum();
                    let bend = (slope - Lin::register(SLOPE)) / ((sigma - run.sigmas[i - 2]) / 2.0);
                    step.rows[0] = step.rows[0] + bend * (fall * fall / 2.0 + sum * scaling(next));
                }
            }
            let deviation = (next * next - sigma * sigma * ratio * ratio).max(0.0).sqrt();
            step.add(Draw::Fresh, deviation * run.knobs.s_noise);
        }
        sheet.push(step);
    }
    Ok(())
}
