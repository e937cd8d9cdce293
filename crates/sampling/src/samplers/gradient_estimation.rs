//! Gradient estimation: Euler's method with each slope carried on beyond the last: Permenter and Yuan 2023, arXiv
//! 2306.04848 (ComfyUI: k_diffusion/sampling.py, `sample_gradient_estimation`, gamma 2), and with CFG++ (Chung et al. 2024,
//! arXiv 2406.08070).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// Gradient estimation.
pub static GRADIENT_ESTIMATION: Descriptor = Descriptor {
    names: &["gradient_estimation", "euler_ge"],
    label: "Gradient Estimation",
    k: Some(|run, sheet| solve(run, sheet, false)),
    ..Descriptor::NONE
};

/// The same with CFG++.
pub static GRADIENT_ESTIMATION_CFG_PP: Descriptor = Descriptor {
    names: &["gradient_estimation_cfg++", "gradient_estimation_cfg_pp"],
    label: "Gradient Estimation CFG++",
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..Descriptor::NONE
};

const LAST: usize = 1;
const GAMMA: f64 = 2.0;

fn solve(run: &Run, sheet: &mut Sheet, plus: bool) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        let towards = if plus { run.clean_unconditional(sigma) } else { clean };
        let slope = (Lin::X - towards) / sigma;
        step.rows[0] = clean + slope * next;
        if i > 0 && next > 0.0 {
            let change = slope - Lin::register(LAST);
            step.rows[0] = step.rows[0] + change * ((GAMMA - 1.0) * (next - sigma));
        }
        step.rows[LAST] = slope;
        sheet.push(step);
    }
    Ok(())
}
