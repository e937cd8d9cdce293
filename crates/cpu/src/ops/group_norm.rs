use super::activation;
use super::concat::joined;
use crate::values::Values;
use calotype_graph::ops::{GroupNorm, Shapes};
use rayon::prelude::*;

/// Rows that a thread takes at a time, at least.
const ROWS: usize = 64;

/// Parts of an image that are summed by themselves, at most.
const PARTS: usize = 256;

/// Group normalisation, then an activation. Sums are f64, in which squares of f32 are exact, so that one pass
/// over the rows gives mean and variance even of values far from zero.
pub(super) fn run(op: &GroupNorm, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let x = joined(values, op.x, op.beside)?;
    let [gamma, beta] = [op.gamma, op.beta].map(|v| values.get(v));
    let (x, gamma, beta) = (&x[..], &gamma.read()[..], &beta.read()[..]);
    let (images, channels) = (values.shape(op.x).dims()[0], gamma.len());
    if y.is_empty() {
        return Ok(());
    }
    let image = y.len() / images;
    for (y, x) in y.chunks_exact_mut(image).zip(x.chunks_exact(image)) {
        let affine = affine(op, x, channels, gamma, beta);
        let chunk = ROWS * channels;
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                for ((y, x), (mean, scale, shift)) in y.iter_mut().zip(x).zip(&affine) {
                    *y = (f64::from(*x) - mean) as f32 * scale + shift;
                }
            }
            activation::apply(op.activation, y);
        });
    }
    Ok(())
}

/// Each channel's mean, scale and shift, from an image's rows.
fn affine(op: &GroupNorm, x: &[f32], channels: usize, gamma: &[f32], beta: &[f32]) -> Vec<(f64, f32, f32)> {
    // Sums of so few parts are nothing beside the values.
    let rows = (x.len() / channels).div_ceil(PARTS).max(ROWS);
    let sums: Vec<Vec<[f64; 2]>> = x.par_chunks(rows * channels).map(|x| moments(x, channels)).collect();
    let size = channels / op.groups;
    let count = (x.len() / op.groups) as f64;
    let mut affine = Vec::with_capacity(channels);
    for group in 0..op.groups {
        let own = group * size..(group + 1) * size;
        let [sum, squares] = sums
            .iter()
            .flat_map(|chunk| &chunk[own.clone()])
            .fold([0.0; 2], |[sum, squares], [s, q]| [sum + s, squares + q]);
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        let inverse = 1.0 / (variance + f64::from(op.eps)).sqrt();
        affine.extend(own.map(|c| (mean, (inverse * f64::from(gamma[c])) as f32, beta[c])));
    }
    affine
}

/// Each channel's sum and sum of squares.
fn moments(x: &[f32], channels: usize) -> Vec<[f64; 2]> {
    let mut moments = vec![[0.0; 2]; channels];
    for row in x.chunks_exact(channels) {
        for ([sum, squares], &x) in moments.iter_mut().zip(row) {
            *sum += f64::from(x);
            *squares += f64::from(x) * f64::from(x);
        }
    }
    moments
}
