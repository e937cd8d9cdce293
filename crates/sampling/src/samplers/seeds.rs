//! SEEDS, stochastic exponential solvers of two and three stages: Gonzalez et al. 2023, arXiv 2305.14267 (ComfyUI:
//! k_diffusion/sampling.py, `sample_seeds_2` and `sample_seeds_3`). Each stage adds to the noise of the one before.

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draft, Draw, Sheet};
use crate::run::{Run, lambda};

/// SEEDS-2.
pub static SEEDS_2: Descriptor = Descriptor {
    names: &["seeds_2"],
    label: "SEEDS 2",
    k: Some(|run, sheet| solve(run, sheet, &[0.5])),
    ..Descriptor::NONE
};

/// SEEDS-3.
pub static SEEDS_3: Descriptor = Descriptor {
    names: &["seeds_3"],
    label: "SEEDS 3",
    k: Some(|run, sheet| solve(run, sheet, &[1.0 / 3.0, 2.0 / 3.0])),
    ..Descriptor::NONE
};

const BEFORE: usize = 1;
/// The clean samples of the stages so far.
const CLEAN: [usize; 2] = [2, 3];
/// The unit noise that this step has drawn, as far as it has come.
const NOISE: usize = 4;

/// A step in `lambda`: the share of its length that is the noise's, and both together.
struct Step {
    e: f64,
    whole: f64,
}

impl Step {
    /// The noise of a stage at the share `to`, from that of the one at `from`.
    fn noise(&self, from: Option<f64>, to: f64, draft: &mut Draft) -> Lin {
        draft.draw = Some(Draw::Fresh);
        let gap = to - from.unwrap_or(0.0);
        let kept = if from.is_some() { Lin::register(NOISE) * (-gap * self.e).exp() } else { Lin::ZERO };
        kept + Lin::N * (-(-2.0 * gap * self.e).exp_m1()).sqrt()
    }
}

fn solve(run: &Run, sheet: &mut Sheet, shares: &[f64]) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        if next == 0.0 {
            let mut last = run.at(sigma);
            last.rows[0] = run.clean(sigma);
            sheet.push(last);
            continue;
        }
        let h = lambda(next) - lambda(sigma);
        let step = Step { e: h * run.knobs.eta, whole: h * (1.0 + run.knobs.eta) };
        let at = |share: f64| (-(lambda(sigma) + share * h)).exp();
        // Where the sample is at each stage and at the end, and what the noise is counted from.
        let stages: Vec<f64> = shares.iter().copied().chain([1.0]).collect();
        for (k, &share) in stages.iter().enumerate() {
            let here = if k == 0 { sigma } else { at(shares[k - 1]) };
            let mut draft = run.at(here);
            let before = if k == 0 { Lin::X } else { Lin::register(BEFORE) };
            let mut clean: Vec<Lin> = CLEAN[..k].iter().map(|r| Lin::register(*r)).collect();
            clean.push(run.clean(here));
            let end = if share == 1.0 { next } else { at(share) };
            let noise = step.noise(k.checked_sub(1).map(|k| shares[k]), share, &mut draft);
            let moved = before * (end / sigma * (-share * step.e).exp()) - step.drift(shares, k, &clean);
            draft.rows[0] = moved + noise * (end * run.knobs.s_noise);
            draft.rows[BEFORE] = before;
            for (register, clean) in CLEAN.iter().zip(&clean) {
                draft.rows[*register] = *clean;
            }
            draft.rows[NOISE] = noise;
            draft.ends_step = share == 1.0;
            sheet.push(draft);
        }
    }
    Ok(())
}

impl Step {
    /// What a stage takes from the clean samples, of which the last is its own.
    fn drift(&self, shares: &[f64], stage: usize, clean: &[Lin]) -> Lin {
        let phi = |z: f64| (z.exp_m1() - z) / z;
        let share = shares.get(stage).copied().unwrap_or(1.0);
        let fall = (-share * self.whole).exp_m1();
        match stage {
            0 => clean[0] * fall,
            // Two stages: the second's clean sample and the first's, by how far it lies.
            _ if shares.len() == 1 => {
                let half = 1.0 / (2.0 * shares[0]);
                (clean[0] * (1.0 - half) + clean[1] * half) * fall
            }
            1 => {
                let second = share / shares[0] * phi(-share * self.whole);
                clean[0] * (fall - second) + clean[1] * second
            }
            _ => {
                let third = phi(-self.whole) / shares[1];
                clean[0] * (fall - third) + clean[2] * third
            }
        }
    }
}
