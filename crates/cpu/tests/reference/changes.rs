//! What changes a UNet: FreeU by the Fourier transform that its authors take, and images put in the place of others.

use crate::Case;
use calotype_graph::ops::{FreeConcat, Shapes, Splice};
use std::collections::BTreeSet;
use std::f64::consts::TAU;

/// x of one image, `[H, W]` of a channel, with what the transform has at its slowest waves scaled: those that lie within one of
/// the middle once the transform is shifted.
fn filtered(x: &[f64], [height, width]: [usize; 2], scale: f64) -> Vec<f64> {
    let slow = |side: usize| -> BTreeSet<usize> { [0, side - 1].into_iter().collect() };
    let mut y = x.to_vec();
    for u in slow(height) {
        for v in slow(width) {
            let angle = |i: usize| {
                let (line, place) = ((i / width) as f64, (i % width) as f64);
                TAU * (u as f64 * line / height as f64 + v as f64 * place / width as f64)
            };
            let sum = |f: fn(f64) -> f64| x.iter().enumerate().map(|(i, x)| x * f(angle(i))).sum::<f64>();
            let (real, imaginary) = (sum(f64::cos), -sum(f64::sin));
            for (i, y) in y.iter_mut().enumerate() {
                let wave = real * angle(i).cos() - imaginary * angle(i).sin();
                *y += (scale - 1.0) * wave / (height * width) as f64;
            }
        }
    }
    y
}

pub fn free_u(case: &Case, op: &FreeConcat, [h, skip]: [&[f64]; 2]) -> Vec<f64> {
    let (shape, beside) = (case.graph.shape(op.h), case.graph.shape(op.skip).channels());
    let [images, height, width, channels] = shape.dims()[..] else { panic!("no images: {shape}") };
    let pixels = height * width;
    let mut y = vec![0.0; images * pixels * (channels + beside)];
    for image in 0..images {
        let h = &h[image * pixels * channels..][..pixels * channels];
        let means: Vec<f64> = h.chunks(channels).map(|h| h.iter().sum::<f64>() / channels as f64).collect();
        let least = means.iter().copied().fold(f64::MAX, f64::min);
        let most = means.iter().copied().fold(f64::MIN, f64::max);
        let backbone = f64::from(op.backbone);
        let gain = |pixel: usize| match op.structured {
            false => backbone,
            true if most == least => 1.0,
            true => (backbone - 1.0) * (means[pixel] - least) / (most - least) + 1.0,
        };
        let y = &mut y[image * pixels * (channels + beside)..][..pixels * (channels + beside)];
        for pixel in 0..pixels {
            for c in 0..channels {
                let gain = if c < channels / 2 { gain(pixel) } else { 1.0 };
                y[pixel * (channels + beside) + c] = h[pixel * channels + c] * gain;
            }
        }
        for c in 0..beside {
            let at = |pixel: usize| skip[(image * pixels + pixel) * beside + c];
            let own: Vec<f64> = (0..pixels).map(at).collect();
            let own = filtered(&own, [height, width], f64::from(op.slow));
            own.iter().enumerate().for_each(|(pixel, v)| y[pixel * (channels + beside) + channels + c] = *v);
        }
    }
    y
}

pub fn splice(case: &Case, op: &Splice, [x, other]: [&[f64]; 2]) -> Vec<f64> {
    let image = x.len() / case.graph.shape(op.x).dims()[0];
    let is_other = |i: usize| (op.first..op.first + op.images).contains(&(i / image));
    (0..x.len()).map(|i| if is_other(i) { other[i] } else { x[i] }).collect()
}
