//! DPM-Solver of orders 3, 2 and 1 over even steps in log sigma: Lu et al. 2022, arXiv 2206.00927, section 3.4
//! (k-diffusion: sampling.py, `dpm_solver_fast`). A step is one evaluation.

use super::Descriptor;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::{Run, lambda};

/// DPM fast.
pub static DPM_FAST: Descriptor = Descriptor {
    names: &["dpm_fast", "k_dpm_fast"],
    label: "DPM fast",
    comfy_eta: 0.0,
    own_sigmas: &[Dialect::K],
    k: Some(solve),
    ..Descriptor::NONE
};

/// The sample and the slope at the beginning of an interval.
pub(super) const BEFORE: usize = 1;
pub(super) const SLOPE: usize = 2;

/// A1111 goes from the most noise the model knows to the least, ComfyUI from the run's first sigma to its last but zero.
fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let (evaluations, start, end) = match run.dialect {
        Dialect::Comfy => {
            let noisy = || run.sigmas.iter().filter(|sigma| **sigma > 0.0).map(|sigma| lambda(*sigma));
            (run.steps(), noisy().fold(f64::INFINITY, f64::min), noisy().fold(f64::NEG_INFINITY, f64::max))
        }
        _ => (run.asked, -run.clock.logs[run.clock.logs.len() - 1], -run.clock.logs[0]),
    };
    if start >= end {
        return Err(Error::Sampler("sampler dpm_fast takes 2 steps or more in dialect comfy".into()));
    }
    if run.dialect != Dialect::Comfy {
        sheet.start = Some((-start).exp());
    }
    let intervals = evaluations / 3 + 1;
    let mut orders = vec![3; intervals - 1];
    match evaluations % 3 {
        0 => orders.splice(intervals - 2.., [2, 1]).for_each(drop),
        rest => orders.push(rest),
    }
    for (i, &order) in orders.iter().enumerate() {
        let at = |i: usize| start + (end - start) * i as f64 / intervals as f64;
        let (t, next) = (at(i), at(i + 1));
        let (down, _) = run.ancestral((-t).exp(), (-next).exp());
        let to = if run.knobs.eta > 0.0 { lambda(down).min(end) } else { next };
        let up = ((-2.0 * next).exp() - (-2.0 * to).exp()).max(0.0).sqrt();
        interval(run, sheet, order, t, to);
        if let Some(last) = sheet.drafts.last_mut() {
            last.add(Draw::Fresh, up * run.knobs.s_noise);
        }
    }
    Ok(())
}

/// One interval in `lambda`, by as many evaluations as its order.
pub(super) fn interval(run: &Run, sheet: &mut Sheet, order: usize, from: f64, to: f64) {
    let h = to - from;
    let sigma = |t: f64| (-t).exp();
    // What is left of the sample's noise where a share `r` of the interval is done.
    let fall = |r: f64| sigma(from + r * h) * (r * h).exp_m1();
    let mut first = run.at(sigma(from));
    let slope = run.slope(&mut first, sigma(from));
    (first.rows[BEFORE], first.rows[SLOPE]) = (Lin::X, slope);
    if order == 1 {
        first.rows[0] = Lin::X - slope * fall(1.0);
        return sheet.push(first);
    }
    let share = if order == 2 { 1.0 / 2.0 } else { 1.0 / 3.0 };
    first.rows[0] = Lin::X - slope * fall(share);
    sheet.push(first);
    let (before, start) = (Lin::register(BEFORE), Lin::register(SLOPE));
    let middle = sigma(from + share * h);
    let mut second = run.at(middle);
    let change = run.slope(&mut second, middle) - start;
    if order == 2 {
        second.rows[0] = before - start * fall(1.0) - change * fall(1.0);
        return sheet.push(second);
    }
    let (late, end) = (sigma(from + 2.0 / 3.0 * h), sigma(to));
    let bend = |z: f64| z.exp_m1() / z - 1.0;
    second.rows[0] = before - start * fall(2.0 / 3.0) - change * (late * 2.0 * bend(2.0 / 3.0 * h));
    (second.rows[BEFORE], second.rows[SLOPE]) = (before, start);
    sheet.push(second);
    let mut third = run.at(late);
    let change = run.slope(&mut third, late) - start;
    third.rows[0] = before - start * fall(1.0) - change * (end * 1.5 * bend(h));
    sheet.push(third);
}
