//! Restart: Heun's method, with a stretch of the noise levels gone through again: Xu et al. 2023, arXiv 2306.14878 (A1111:
//! modules/sd_samplers_extra.py, `restart_sampler`, with its numbers for when and how often).

use super::Descriptor;
use super::heun::step;
use crate::error::Result;
use crate::program::Sheet;
use crate::run::Run;
use crate::schedule::karras;

/// Restart.
pub static RESTART: Descriptor = Descriptor {
    names: &["restart"],
    label: "Restart",
    schedule: Some("karras"),
    k: Some(solve),
    ..Descriptor::NONE
};

/// From 20 steps on nine of them, and from 36 on half of them, go from sigma 2 down to 0.1 again.
fn levels(sigmas: &[f64]) -> Vec<(f64, f64)> {
    let steps = sigmas.len() - 1;
    let (extra, times) = match steps {
        0..20 => (0, 0),
        20..36 => (9, 1),
        _ => (steps / 4, 2),
    };
    let again = match times {
        0 => sigmas.to_vec(),
        _ => karras(sigmas[0], sigmas[steps - 1], steps - extra * times).into_iter().chain([0.0]).collect(),
    };
    let nearest = |to: f64| {
        let mut found = 0;
        for (i, sigma) in again.iter().enumerate() {
            if (sigma - to).abs() < (again[found] - to).abs() {
                found = i;
            }
        }
        found
    };
    let (low, high) = (nearest(0.1), nearest(2.0));
    let mut steps = Vec::new();
    for (i, pair) in again.windows(2).enumerate() {
        steps.push((pair[0], pair[1]));
        if times > 0 && i + 1 == low && high < low {
            let stretch = karras(again[high], again[low], extra + 1);
            for _ in 0..times {
                steps.extend(stretch.windows(2).map(|pair| (pair[0], pair[1])));
            }
        }
    }
    steps
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let mut last: Option<f64> = None;
    for (from, to) in levels(&run.sigmas) {
        if let Some(last) = last.filter(|last| *last < from) {
            sheet.stir(run.knobs.s_noise * (from * from - last * last).sqrt());
        }
        step(run, sheet, from, to);
        last = Some(to);
    }
    Ok(())
}
