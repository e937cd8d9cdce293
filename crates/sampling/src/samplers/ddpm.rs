//! Ancestral sampling: Ho et al. 2020, arXiv 2006.11239, algorithm 2, over sigmas (ComfyUI: k_diffusion/sampling.py,
//! `sample_ddpm`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// DDPM.
pub static DDPM: Descriptor =
    Descriptor { names: &["ddpm", "ddpmscheduler"], label: "DDPM", k: Some(solve), ..Descriptor::NONE };

/// The posterior's mean and deviation, which over sigmas are Euler's ancestral step at eta 1.
fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let down = next * next / sigma;
        let mut step = run.at(sigma);
        step.rows[0] = Lin::X * (down / sigma) + run.clean(sigma) * (1.0 - down / sigma);
        if next > 0.0 {
            let up = (next * next - down * down).max(0.0).sqrt();
            step.add(Draw::Fresh, up * run.knobs.s_noise);
        }
        sheet.push(step);
    }
    Ok(())
}
