//! Diffusion exponential integrator: Zhang and Chen 2022, arXiv 2204.13902, `tAB` of order 3 (ComfyUI and Forge:
//! k_diffusion/deis.py). Weights are integrals in the time of a continuous schedule, which the peer sums over 10,000
//! points.

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// DEIS.
pub static DEIS: Descriptor = Descriptor {
    names: &["deis", "k_deis", "deismultistepscheduler"],
    label: "DEIS",
    k: Some(solve),
    ..Descriptor::NONE
};

const ORDER: usize = 3;
const PEERS_POINTS: f64 = 10_000.0;
const INTERVALS: usize = 128;

/// The continuous schedule that the peer sets up between sigma 0.002 and 80.
struct Continuous {
    growth: f64,
    least: f64,
}

impl Continuous {
    fn new() -> Continuous {
        const EPSILON: f64 = 1e-3;
        let (low, high) = ((0.002f64 * 0.002 + 1.0).ln(), (80.0f64 * 80.0 + 1.0).ln());
        let growth = 2.0 * (low / EPSILON - high) / (EPSILON - 1.0);
        Continuous { growth, least: high - 0.5 * growth }
    }

    fn time(&self, sigma: f64) -> f64 {
        let Continuous { growth, least } = self;
        ((least * least + 2.0 * growth * (sigma * sigma + 1.0).ln()).sqrt() - least) / growth
    }

    /// What the slope is weighed with at a time: `-1/2 (ln alpha)' / sqrt(alpha (1 - alpha))`.
    fn integrand(&self, t: f64) -> f64 {
        let log = -0.5 * t * t * self.growth - t * self.least;
        let alpha = log.exp();
        0.5 * (t * self.growth + self.least) / (alpha * (1.0 - alpha)).sqrt()
    }

    /// The weights of the slopes at the times `past`, newest first, for the way to `end`. The peer's sum counts both ends
    /// whole and divides by one more than its intervals: that is the integral, which Simpson's rule finds with fewer points,
    /// but for a share of the ends.
    fn weights(&self, past: &[f64], end: f64) -> Vec<f64> {
        let (start, length) = (past[0], end - past[0]);
        let weight = |k: usize| {
            let at = |share: f64| {
                let tau = start + length * share;
                let others = past.iter().enumerate().filter(|(j, _)| *j != k);
                let lagrange: f64 = others.map(|(_, other)| (tau - other) / (past[k] - other)).product();
                self.integrand(tau) * lagrange
            };
            let inner = |i: usize| at(i as f64 / INTERVALS as f64) * if i % 2 == 1 { 4.0 } else { 2.0 };
            let ends = at(0.0) + at(1.0);
            let integral = (ends + (1..INTERVALS).map(inner).sum::<f64>()) / (3 * INTERVALS) as f64;
            length * (integral * (1.0 - 1.0 / PEERS_POINTS) + 0.5 * ends / PEERS_POINTS)
        };
        (0..past.len()).map(weight).collect()
    }
}

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let schedule = Continuous::new();
    let times: Vec<f64> = run.sigmas.iter().map(|s| schedule.time(*s)).collect();
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let mut step = run.at(sigma);
        let slope = run.slope(&mut step, sigma);
        let slopes = [slope, Lin::register(1), Lin::register(2)];
        let order = if next == 0.0 { 1 } else { ORDER.min(i + 1) };
        let weights = match order {
            1 => vec![next - sigma],
            _ => {
                let past: Vec<f64> = (0..order).map(|k| times[i - k]).collect();
                schedule.weights(&past, times[i + 1])
            }
        };
        step.rows[0] = slopes.iter().zip(weights).fold(Lin::X, |sum, (slope, weight)| sum + *slope * weight);
        step.rows[1..ORDER].copy_from_slice(&slopes[..ORDER - 1]);
        sheet.push(step);
    }
    Ok(())
}
