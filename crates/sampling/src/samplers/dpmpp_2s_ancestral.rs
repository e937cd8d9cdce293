//! DPM-Solver++(2S), a singlestep solver, with ancestral noise: Lu et al. 2022, arXiv 2211.01095, algorithm 1
//! (k-diffusion: sampling.py, `sample_dpmpp_2s_ancestral`), and with CFG++ (Chung et al. 2024, arXiv 2406.08070;
//! ComfyUI: k_diffusion/sampling.py, `sample_dpmpp_2s_ancestral_cfg_pp`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// DPM++ 2S a.
pub static DPMPP_2S_ANCESTRAL: Descriptor = Descriptor {
    names: &["dpm++_2s_a", "dpmpp_2s_ancestral", "dpmpp_2s_a", "k_dpmpp_2s_a", "dpm++2s_a"],
    label: "DPM++ 2S a",
    schedule: Some("karras"),
    k: Some(|run, sheet| solve(run, sheet, false)),
    ..Descriptor::NONE
};

/// The same with CFG++.
pub static DPMPP_2S_ANCESTRAL_CFG_PP: Descriptor = Descriptor {
    names: &["dpm++_2s_a_cfg++", "dpmpp_2s_ancestral_cfg_pp"],
    label: "DPM++ 2S a CFG++",
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..DPMPP_2S_ANCESTRAL
};

const BEFORE: usize = 1;
/// The first evaluation's clean sample, which also the second's shift is counted from.
const CLEAN: usize = 2;

fn solve(run: &Run, sheet: &mut Sheet, plus: bool) -> Result<()> {
    // With CFG++ the sample is moved by what guidance changes before it is scaled.
    let shift = |clean, sigma| if plus { clean - run.clean_unconditional(sigma) } else { Lin::ZERO };
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (down, up) = run.ancestral(sigma, next);
        let (mut first, clean) = (run.at(sigma), run.clean(sigma));
        if down == 0.0 {
            first.rows[0] = clean;
            if next > 0.0 {
                first.add(Draw::Fresh, up * run.knobs.s_noise);
            }
            sheet.push(first);
            continue;
        }
        let middle = (sigma * down).sqrt();
        first.rows[0] = (Lin::X + shift(clean, sigma)) * (middle / sigma) + clean * (1.0 - middle / sigma);
        (first.rows[BEFORE], first.rows[CLEAN]) = (Lin::X, clean);
        first.ends_step = false;
        let mut second = run.at(middle);
        let kept = Lin::register(BEFORE) + shift(Lin::register(CLEAN), middle);
        second.rows[0] = kept * (down / sigma) + run.clean(middle) * (1.0 - down / sigma);
        if next > 0.0 {
            second.add(Draw::Fresh, up * run.knobs.s_noise);
        }
        sheet.push(first);
        sheet.push(second);
    }
    Ok(())
}
