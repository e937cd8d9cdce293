//! Improved pseudo numerical methods: Adams-Bashforth over the slopes, of order 4 where the history allows (Zhang and Chen
//! 2022, arXiv 2204.13902; ComfyUI: k_diffusion/sampling.py, `sample_ipndm` and `sample_ipndm_v`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::Sheet;
use crate::run::Run;

/// IPNDM: the weights of even steps.
pub static IPNDM: Descriptor = Descriptor {
    names: &["ipndm", "ipndmscheduler"],
    label: "IPNDM",
    k: Some(|run, sheet| solve(run, sheet, |_| None)),
    ..Descriptor::NONE
};

/// IPNDM_V: weights by the steps' lengths.
pub static IPNDM_V: Descriptor = Descriptor {
    names: &["ipndm_v"],
    label: "IPNDM_V",
    k: Some(|run, sheet| solve(run, sheet, |h| Some(variable(h)))),
    ..Descriptor::NONE
};

const ORDER: usize = 4;

/// Adams-Bashforth's weights by order, newest first.
const EVEN: [&[f64]; ORDER] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// Each step adds its slopes with the weights that `by` has for its length and those before, or else the even ones.
fn solve(run: &Run, sheet: &mut Sheet, by: impl Fn(&[f64]) -> Option<Vec<f64>>) -> Result<()> {
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let mut step = run.at(sigma);
        let slope = run.slope(&mut step, sigma);
        let past = (1..ORDER).map(Lin::register);
        let slopes: Vec<Lin> = std::iter::once(slope).chain(past).collect();
        let order = if next == 0.0 { 1 } else { ORDER.min(i + 1) };
        let lengths: Vec<f64> = (0..order).map(|k| run.sigmas[i + 1 - k] - run.sigmas[i - k]).collect();
        let weights = by(&lengths).unwrap_or_else(|| EVEN[order - 1].to_vec());
        let sum = slopes.iter().zip(weights).fold(Lin::ZERO, |sum, (slope, weight)| sum + *slope * weight);
        step.rows[0] = Lin::X + sum * (next - sigma);
        step.rows[1..ORDER].copy_from_slice(&slopes[..ORDER - 1]);
        sheet.push(step);
    }
    Ok(())
}

/// The peer's weights for steps of lengths `h`, newest first. Its third order subtracts a product where Adams-Bashforth's
/// has a quotient, and its fourth follows suit.
fn variable(h: &[f64]) -> Vec<f64> {
    let [n, rest @ ..] = h else { return Vec::new() };
    let Some(&h1) = rest.first() else { return vec![1.0] };
    let q = n / h1;
    let Some(&h2) = rest.get(1) else { return vec![(2.0 + q) / 2.0, -q / 2.0] };
    let t = 0.5 * (1.0 - n / (3.0 * (n + h1)) * (n * (n + h1)) / (h1 * (h1 + h2)));
    let a = h1 / h2;
    let Some(&h3) = rest.get(2) else {
        return vec![(2.0 + q) / 2.0 + t, -q / 2.0 - (1.0 + a) * t, a * t];
    };
    let t2 = (0.5 * (1.0 - n / (3.0 * (n + h1))) + (1.0 - n / (2.0 * (n + h1))) * n / (6.0 * (n + h1 + h2)))
        * (n * (n + h1) * (n + h1 + h2))
        / (h1 * (h1 + h2) * (h1 + h2 + h3));
    let g = h1 * (h1 + h2) / (h2 * (h2 + h3));
    vec![
        (2.0 + q) / 2.0 + t + t2,
        -q / 2.0 - (1.0 + a) * t - (1.0 + a + g) * t2,
        a * t + (a + g * (1.0 + h2 / h3)) * t2,
        -t2 * g * a,
    ]
}
