//! Euler's method with CFG++: the step goes from the guided clean sample along the unconditional slope (Chung et al. 2024,
//! arXiv 2406.08070; ComfyUI: k_diffusion/sampling.py, `sample_euler_cfg_pp` and `sample_euler_ancestral_cfg_pp`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// Euler CFG++.
pub static EULER_CFG_PP: Descriptor = Descriptor {
    names: &["euler_cfg++", "euler_cfg_pp"],
    label: "Euler CFG++",
    needs_unconditional: true,
    k: Some(plain),
    ..Descriptor::NONE
};

/// Euler a CFG++.
pub static EULER_ANCESTRAL_CFG_PP: Descriptor = Descriptor {
    names: &["euler_a_cfg++", "euler_ancestral_cfg_pp"],
    label: "Euler a CFG++",
    k: Some(ancestral),
    ..EULER_CFG_PP
};

fn plain(run: &Run, sheet: &mut Sheet) -> Result<()> {
    (0..run.steps()).for_each(|i| step(run, sheet, i, (run.sigmas[i + 1], 0.0)));
    Ok(())
}

fn ancestral(run: &Run, sheet: &mut Sheet) -> Result<()> {
    (0..run.steps()).for_each(|i| step(run, sheet, i, run.ancestral(run.sigmas[i], run.sigmas[i + 1])));
    Ok(())
}

fn step(run: &Run, sheet: &mut Sheet, i: usize, (down, up): (f64, f64)) {
    let sigma = run.sigmas[i];
    let mut step = run.at(sigma);
    step.rows[0] = run.clean(sigma) + (Lin::X - run.clean_unconditional(sigma)) * (down / sigma);
    if up > 0.0 {
        step.add(Draw::Fresh, up * run.knobs.s_noise);
    }
    sheet.push(step);
}
