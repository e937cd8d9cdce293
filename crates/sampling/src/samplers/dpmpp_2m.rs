//! DPM-Solver++(2M) over sigmas: Lu et al. 2022, arXiv 2211.01095, algorithm 2 (k-diffusion: sampling.py,
//! `sample_dpmpp_2m`), and with CFG++ (Chung et al. 2024, arXiv 2406.08070; ComfyUI: k_diffusion/sampling.py,
//! `sample_dpmpp_2m_cfg_pp`). diffusers' form is in `dpm_solver.rs`.

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::{Run, lambda};

/// DPM++ 2M with CFG++.
pub static DPMPP_2M_CFG_PP: Descriptor = Descriptor {
    names: &["dpm++_2m_cfg++", "dpmpp_2m_cfg_pp"],
    label: "DPM++ 2M CFG++",
    schedule: Some("karras"),
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..Descriptor::NONE
};

const LAST: usize = 1;

pub(super) fn solve(run: &Run, sheet: &mut Sheet, plus: bool) -> Result<()> {
    let mut h_last = None;
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        // What the steps differ by, and, in the plain form, go towards.
        let kept = if plus { run.clean_unconditional(sigma) } else { clean };
        step.rows[0] = clean + (Lin::X - kept) * (next / sigma);
        step.rows[LAST] = kept;
        if next > 0.0 {
            let h = lambda(next) - lambda(sigma);
            if let Some(h_last) = h_last {
                let weight = -(-h).exp_m1() * 0.5 * h / h_last;
                step.rows[0] = step.rows[0] + (clean - Lin::register(LAST)) * weight;
            }
            h_last = Some(h);
        }
        sheet.push(step);
    }
    Ok(())
}
