//! A second-order method that takes the slope at the middle, in log sigma, of each step: k-diffusion's `dpm_2`, after
//! Lu et al. 2022, arXiv 2206.00927, and its ancestral form (k-diffusion: sampling.py, `sample_dpm_2` and
//! `sample_dpm_2_ancestral`).

use super::Descriptor;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Draw, Sheet};
use crate::run::Run;

/// DPM2.
pub static DPM2: Descriptor = Descriptor {
    names: &["dpm2", "dpm_2", "kdpm2discretescheduler"],
    label: "DPM2",
    schedule: Some("karras"),
    discards_penultimate: &[Dialect::K, Dialect::Comfy],
    k: Some(dpm2),
    ..Descriptor::NONE
};

/// Its ancestral form.
pub static DPM2_ANCESTRAL: Descriptor = Descriptor {
    names: &[
        "dpm2_a",
        "dpm_2_ancestral",
        "k_dpm_2_a",
        "k_dpm_2_ancestral",
        "kdpm2ancestraldiscretescheduler",
    ],
    label: "DPM2 a",
    k: Some(ancestral),
    ..DPM2
};

const BEFORE: usize = 1;

fn dpm2(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let hat = run.churn(sheet, i);
        step(run, sheet, hat, run.sigmas[i + 1]);
    }
    Ok(())
}

fn ancestral(run: &Run, sheet: &mut Sheet) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (down, up) = run.ancestral(sigma, next);
        step(run, sheet, sigma, down);
        if let (true, Some(last)) = (down > 0.0, sheet.drafts.last_mut()) {
            last.add(Draw::Fresh, up * run.knobs.s_noise);
        }
    }
    Ok(())
}

fn step(run: &Run, sheet: &mut Sheet, sigma: f64, to: f64) {
    let mut first = run.at(sigma);
    let slope = run.slope(&mut first, sigma);
    if to == 0.0 {
        first.rows[0] = Lin::X + slope * (to - sigma);
        return sheet.push(first);
    }
    let middle = (sigma * to).sqrt();
    first.rows[0] = Lin::X + slope * (middle - sigma);
    first.rows[BEFORE] = Lin::X;
    first.ends_step = false;
    let mut second: Draft = run.at(middle);
    let slope = run.slope(&mut second, middle);
    second.rows[0] = Lin::register(BEFORE) + slope * (to - sigma);
    sheet.push(first);
    sheet.push(second);
}
