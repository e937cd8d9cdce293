//! DPM-Solver-23, whose steps are as long as the error lets them be: Lu et al. 2022, arXiv 2206.00927, appendix C
//! (k-diffusion: sampling.py, `sample_dpm_adaptive`). Here is an attempt at one; what becomes of it `adaptive.rs` decides.

use super::{Descriptor, dpm_fast};
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::{Run, lambda};

/// DPM adaptive.
pub static DPM_ADAPTIVE: Descriptor = Descriptor {
    names: &["dpm_adaptive", "k_dpm_ad"],
    label: "DPM adaptive",
    comfy_eta: 0.0,
    own_sigmas: &[Dialect::K],
    k: Some(solve),
    ..Descriptor::NONE
};

/// What an attempt leaves beside the sample: the sample as it was, what it would be by the lower order, the same of the last
/// step that was taken, and what the two orders differ by, which float32 would lose in the samples themselves.
pub(crate) const BEFORE: usize = dpm_fast::BEFORE;
pub(crate) const LOW: usize = 3;
pub(crate) const PREVIOUS: usize = 4;
pub(crate) const APART: usize = 5;

/// How far the first attempt goes, in lambda.
pub(crate) const FIRST: f64 = 0.05;

/// A1111 goes from the most noise the model knows to the least, and where a picture is begun from, as ComfyUI always, from
/// the run's first sigma to its last but zero.
fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let first = run.begin.unwrap_or(0);
    let noisy = || run.sigmas[first..].iter().filter(|sigma| **sigma > 0.0).map(|sigma| lambda(*sigma));
    let (begin, end) = match run.dialect == Dialect::Comfy || first > 0 {
        true => (noisy().fold(f64::INFINITY, f64::min), noisy().fold(f64::NEG_INFINITY, f64::max)),
        false => (-run.clock.logs[run.clock.logs.len() - 1], -run.clock.logs[0]),
    };
    if begin >= end {
        let why = "has no way to go between the last noise levels: give more steps";
        return Err(Error::Sampler(format!("sampler dpm_adaptive {why}")));
    }
    if run.dialect != Dialect::Comfy {
        sheet.start = Some((-begin).exp());
    }
    *sheet = Sheet { start: sheet.start, ..attempt(run, [begin, end], &Aim::of(run, begin, FIRST, end)) };
    Ok(())
}

/// A step by its ends, all in lambda.
pub(crate) struct Aim {
    from: f64,
    /// Where it ends.
    pub next: f64,
    /// Where it goes before noise is added.
    to: f64,
    /// The deviation of that noise.
    pub noise: f64,
}

impl Aim {
    /// A step that is so long where the run's end lets it be.
    pub fn of(run: &Run, from: f64, length: f64, end: f64) -> Aim {
        let next = end.min(from + length);
        let (down, _) = run.ancestral((-from).exp(), (-next).exp());
        let to = if run.knobs.eta > 0.0 { lambda(down).min(end) } else { next };
        Aim { from, next, to, noise: ((-2.0 * next).exp() - (-2.0 * to).exp()).max(0.0).sqrt() }
    }
}

/// An attempt at a step of a run of this way; the first of all has no step before it.
pub(crate) fn attempt(run: &Run, way: [f64; 2], &Aim { from, to, .. }: &Aim) -> Sheet {
    let mut sheet = Sheet { adapts: Some(way), ..Sheet::default() };
    dpm_fast::interval(run, &mut sheet, 3, from, to);
    let [first, second, third] = &mut sheet.drafts[..] else { unreachable!("an evaluation an order") };
    let (before, slope) = (Lin::register(BEFORE), Lin::register(dpm_fast::SLOPE));
    let (h, middle) = (to - from, (-from - (to - from) / 3.0).exp());
    let straight = slope * ((-to).exp() * h.exp_m1());
    second.rows[APART] = (run.slope(second, middle) - slope) * (1.5 * (-to).exp() * h.exp_m1());
    third.rows[LOW] = before - straight - Lin::register(APART);
    third.rows[APART] = before - straight - third.rows[0] - Lin::register(APART);
    third.rows[BEFORE] = before;
    first.rows[PREVIOUS] = if from == way[0] { Lin::X } else { Lin::register(PREVIOUS) };
    second.rows[PREVIOUS] = Lin::register(PREVIOUS);
    third.rows[PREVIOUS] = Lin::register(PREVIOUS);
    [first.ends_step, second.ends_step] = [false; 2];
    sheet
}
