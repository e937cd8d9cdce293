use crate::values::Values;
use calotype_graph::ops::{FreeConcat, Shapes};
use rayon::prelude::*;

/// h with half of its channels turned up beside the skip with its slowest waves turned down, sums in f64.
pub(super) fn run(op: &FreeConcat, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let [h, skip, waves] = [op.h, op.skip, op.waves].map(|v| values.get(v));
    let [h, skip, waves] = [&h.read()[..], &skip.read()[..], &waves.read()[..]];
    let (shape, beside) = (values.shape(op.h), values.shape(op.skip).channels());
    let [_, lines, columns, channels] = shape.dims()[..] else { return Err("takes images".into()) };
    let (pixels, width) = (lines * columns, channels + beside);
    if y.is_empty() {
        return Ok(());
    }
    // Each pixel's waves: the mean, and the cosine and the sine along either side and along both.
    let of = |pixel: usize| -> [f64; 7] {
        let (line, place) = (pixel / columns, 2 * lines + pixel % columns);
        let [a, b, c, d] =
            [waves[line], waves[lines + line], waves[place], waves[columns + place]].map(f64::from);
        [1.0, a, b, c, d, a * c - b * d, b * c + a * d]
    };
    let waves: Vec<[f64; 7]> = (0..pixels).map(of).collect();
    let images = y.par_chunks_mut(pixels * width).enumerate();
    images.for_each(|(image, y)| {
        let h = &h[image * pixels * channels..][..pixels * channels];
        let skip = &skip[image * pixels * beside..][..pixels * beside];
        let gains = gains(op, h, channels);
        let mut sums = vec![[0.0; 7]; beside];
        for (skip, waves) in skip.chunks_exact(beside.max(1)).zip(&waves) {
            for (sums, v) in sums.iter_mut().zip(skip) {
                sums.iter_mut().zip(waves).for_each(|(sum, wave)| *sum += wave * f64::from(*v));
            }
        }
        let slow = (f64::from(op.slow) - 1.0) / pixels as f64;
        for (pixel, y) in y.chunks_exact_mut(width).enumerate() {
            let (own, other) = y.split_at_mut(channels);
            for (c, (y, v)) in own.iter_mut().zip(&h[pixel * channels..]).enumerate() {
                *y = if c < channels / 2 { v * gains[pixel] } else { *v };
            }
            for ((y, v), sums) in other.iter_mut().zip(&skip[pixel * beside..]).zip(&sums) {
                let all: f64 = sums.iter().zip(&waves[pixel]).map(|(sum, wave)| sum * wave).sum();
                *y = (f64::from(*v) + slow * all) as f32;
            }
        }
    });
    Ok(())
}

/// By how much each pixel of an image is turned up.
fn gains(op: &FreeConcat, h: &[f32], channels: usize) -> Vec<f32> {
    let mean = |h: &[f32]| h.iter().map(|&v| f64::from(v)).sum::<f64>() / channels as f64;
    let means: Vec<f64> = h.chunks_exact(channels.max(1)).map(mean).collect();
    if !op.structured {
        return vec![op.backbone; means.len()];
    }
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let length = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    let share = |mean: &f64| if length > 0.0 { (mean - least) / length } else { 0.0 };
    means.iter().map(|mean| ((f64::from(op.backbone) - 1.0) * share(mean) + 1.0) as f32).collect()
}
