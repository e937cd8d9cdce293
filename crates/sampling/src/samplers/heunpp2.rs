//! Heun's method with a third slope (Forge and ComfyUI: k_diffusion/sampling.py, `sample_heunpp2`, after
//! github.com/Carzit's sampler): the slopes at the ends of this step and the next, weighted by their sigmas.

use super::Descriptor;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// HeunPP2.
pub static HEUNPP2: Descriptor =
    Descriptor { names: &["heunpp2"], label: "HeunPP2", k: Some(solve), ..Descriptor::NONE };

const BEFORE: usize = 1;
/// The sum of slopes so far, each with its weight.
const SUM: usize = 2;

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    // It draws noise for each step in either dialect.
    let run = &Run { dialect: Dialect::K, ..run.clone() };
    let largest = run.sigmas[0];
    for i in 0..run.steps() {
        let hat = run.churn(sheet, i);
        let next = run.sigmas[i + 1];
        let after = run.sigmas.get(i + 2).copied();
        let mut first = run.at(hat);
        let slope = run.slope(&mut first, hat);
        first.rows[0] = Lin::X + slope * (next - hat);
        let Some(after) = after.filter(|_| next > 0.0) else {
            sheet.push(first);
            continue;
        };
        let stages = if after == 0.0 { 2.0 } else { 3.0 };
        let (w2, w3) = (next / (stages * largest), if after == 0.0 { 0.0 } else { after / (3.0 * largest) });
        (first.rows[BEFORE], first.rows[SUM]) = (Lin::X, slope * (1.0 - w2 - w3));
        first.ends_step = false;
        sheet.push(first);
        let (before, sum) = (Lin::register(BEFORE), Lin::register(SUM));
        let mut second = run.at(next);
        let slope = run.slope(&mut second, next);
        let total = sum + slope * w2;
        if after == 0.0 {
            second.rows[0] = before + total * (next - hat);
            sheet.push(second);
            continue;
        }
        second.rows[0] = Lin::X + slope * (after - next);
        (second.rows[BEFORE], second.rows[SUM]) = (before, total);
        second.ends_step = false;
        sheet.push(second);
        let mut third = run.at(after);
        let slope = run.slope(&mut third, after);
        third.rows[0] = before + (sum + slope * w3) * (next - hat);
        sheet.push(third);
    }
    Ok(())
}
