//! Refined exponential solver, multistep, of second order: Zhang et al. 2023, arXiv 2308.02157 (ComfyUI:
//! k_diffusion/sampling.py, `res_multistep`), with ancestral noise, and with CFG++ (Chung et al. 2024, arXiv 2406.08070).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::{Run, lambda};

/// res_multistep.
pub static RES_MULTISTEP: Descriptor = Descriptor {
    names: &["res_multistep"],
    label: "Res Multistep",
    k: Some(|run, sheet| solve(run, sheet, false, false)),
    ..Descriptor::NONE
};

/// Its ancestral form.
pub static RES_MULTISTEP_ANCESTRAL: Descriptor = Descriptor {
    names: &["res_multistep_ancestral"],
    label: "Res Multistep Ancestral",
    k: Some(|run, sheet| solve(run, sheet, true, false)),
    ..Descriptor::NONE
};

/// With CFG++.
pub static RES_MULTISTEP_CFG_PP: Descriptor = Descriptor {
    names: &["res_multistep_cfg++", "res_multistep_cfg_pp"],
    label: "Res Multistep CFG++",
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, false, true)),
    ..Descriptor::NONE
};

/// With both.
pub static RES_MULTISTEP_ANCESTRAL_CFG_PP: Descriptor = Descriptor {
    names: &["res_multistep_ancestral_cfg++", "res_multistep_ancestral_cfg_pp"],
    label: "Res Multistep Ancestral CFG++",
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, true, true)),
    ..Descriptor::NONE
};

const LAST: usize = 1;

fn solve(run: &Run, sheet: &mut Sheet, ancestral: bool, plus: bool) -> Result<()> {
    let mut down_last = None;
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (down, up) = if ancestral { run.ancestral(sigma, next) } else { (next, 0.0) };
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        let kept = if plus { run.clean_unconditional(sigma) } else { clean };
        step.rows[0] = clean + (Lin::X - kept) * (down / sigma);
        step.rows[LAST] = kept;
        if let Some(down_last) = down_last.filter(|_| down > 0.0) {
            let h = lambda(down) - lambda(sigma);
            let c2 = (lambda(run.sigmas[i - 1]) - lambda(down_last)) / h;
            let phi_1 = (-h).exp_m1() / -h;
            let b2 = (phi_1 - 1.0) / -h / c2;
            // Where nothing lies between this step and the one before, the peer drops the term that has no number.
            let [b1, b2] = [phi_1 - b2, b2].map(|b| if b.is_nan() { 0.0 } else { b });
            step.rows[0] =
                (Lin::X + (clean - kept)) * (-h).exp() + (kept * b1 + Lin::register(LAST) * b2) * h;
        }
        if next > 0.0 {
            step.add(Draw::Fresh, up * run.knobs.s_noise);
        }
        down_last = Some(down);
        sheet.push(step);
    }
    Ok(())
}
