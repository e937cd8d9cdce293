use crate::values::Values;
use calotype_graph::ops::LayerNorm;
use rayon::prelude::*;

/// Layer normalisation over the channels, with f64 sums: mean first, then deviations from it.
pub(super) fn run(op: &LayerNorm, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let [x, gamma, beta] = [op.x, op.gamma, op.beta].map(|v| values.get(v));
    let [x, gamma, beta] = [&x.read()[..], &gamma.read()[..], &beta.read()[..]];
    normalise(x, gamma, beta, op.eps, y);
    Ok(())
}

/// Rows as wide as gamma.
pub(super) fn normalise(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    let width = gamma.len();
    if width == 0 {
        return;
    }
    y.par_chunks_mut(width).zip(x.par_chunks(width)).for_each(|(y, x)| {
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
        let inverse = (1.0 / (variance + f64::from(eps)).sqrt()) as f32;
        for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta.iter())) {
            *y = (f64::from(*x) - mean) as f32 * inverse * gamma + beta;
        }
    });
}
