//! DPM-Solver++ (2S) as a stochastic equation, over a Brownian path (k-diffusion: sampling.py, `sample_dpmpp_sde`, at
//! r = 1/2, after Lu et al. 2022, arXiv 2211.01095).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::Run;

/// DPM++ SDE.
pub static DPMPP_SDE: Descriptor = Descriptor {
    names: &["dpm++_sde", "dpmpp_sde", "dpmpp_sde_gpu", "k_dpmpp_sde", "dpmsolversdescheduler"],
    label: "DPM++ SDE",
    schedule: Some("karras"),
    k: Some(solve),
    ..Descriptor::NONE
};

const BEFORE: usize = 1;

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let mut first = run.at(sigma);
        if next == 0.0 {
            first.rows[0] = run.clean(sigma);
            sheet.push(first);
            continue;
        }
        let middle = (sigma * next).sqrt();
        let (down, up) = run.ancestral(sigma, middle);
        first.rows[0] = Lin::X * (down / sigma) + run.clean(sigma) * (1.0 - down / sigma);
        first.add(Draw::Brownian { from: sigma, to: middle }, up * run.knobs.s_noise);
        first.rows[BEFORE] = Lin::X;
        first.ends_step = false;
        let mut second = run.at(middle);
        let (down, up) = run.ancestral(sigma, next);
        second.rows[0] = Lin::register(BEFORE) * (down / sigma) + run.clean(middle) * (1.0 - down / sigma);
        second.add(Draw::Brownian { from: sigma, to: next }, up * run.knobs.s_noise);
        sheet.push(first);
        sheet.push(second);
    }
    Ok(())
}
