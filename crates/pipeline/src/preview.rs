//! Latents as a rough picture, without the decoder: one linear map from channels to colours.

use crate::image::Picture;
use crate::noise::Generator;
use calotype_tensor::HostTensor;

/// What each of the four channels of Stable Diffusion 1 and 2 adds to red, green and blue: a fit to pictures that
/// ComfyUI uses for its own previews (comfy/latent_formats.py, `SD15.latent_rgb_factors`).
const STABLE_DIFFUSION: [[f32; 3]; 4] = [
    [0.3512, 0.2297, 0.3227],
    [0.3250, 0.4974, 0.2350],
    [-0.2829, 0.1762, 0.2721],
    [-0.2120, -0.2616, -0.7177],
];

/// The spread of latents that are fitted, and the widest that is shown as it is: samplers that work in sigmas begin
/// far outside the range of pictures.
const SPREAD: f32 = 1.5;

/// What latents' channels mean in colours.
pub struct Colours {
    /// For each channel, and then for none, red, green and blue.
    factors: Vec<[f32; 3]>,
}

impl Colours {
    /// Those of latents with so many channels, where they are known: four are taken for Stable Diffusion's.
    pub fn known(channels: usize) -> Option<Self> {
        let factors = STABLE_DIFFUSION.into_iter().chain([[0.0; 3]]).collect();
        (channels == STABLE_DIFFUSION.len()).then_some(Self { factors })
    }

    /// Noise in blocks of two by two, `[1, C, h, w]`: what [`learned`](Self::learned) wants to see decoded.
    pub fn samples([channels, h, w]: [usize; 3]) -> HostTensor {
        let [rows, columns] = [h.div_ceil(2), w.div_ceil(2)];
        let mut noise = vec![0.0; channels * rows * columns];
        Generator::new(0).randn(&mut noise);
        let places = (0..channels).flat_map(|c| (0..h).flat_map(move |y| (0..w).map(move |x| (c, y, x))));
        let values = places.map(|(c, y, x)| SPREAD * noise[(c * rows + y / 2) * columns + x / 2]);
        HostTensor::from_f32([1, channels, h, w], &values.collect::<Vec<f32>>())
    }

    /// Those that fit latents and the picture that a decoder makes of them best.
    pub fn learned(latents: &HostTensor, picture: &Picture) -> Option<Self> {
        let &[_, channels, h, w] = latents.shape().dims() else { return None };
        let (values, factor) = (latents.to_f32(), picture.height / h);
        let places = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        let samples = places.map(|(y, x)| {
            let of = |c: usize| f64::from(values[(c * h + y) * w + x]);
            let inputs: Vec<f64> = (0..channels).map(of).chain([1.0]).collect();
            let mut colour = [0.0; 3];
            for (row, column) in (0..factor).flat_map(|r| (0..factor).map(move |c| (r, c))) {
                let at = picture.channels * ((y * factor + row) * picture.width + x * factor + column);
                for (sum, byte) in colour.iter_mut().zip(&picture.pixels[at..]) {
                    *sum += (f64::from(*byte) / 127.5 - 1.0) / (factor * factor) as f64;
                }
            }
            (inputs, colour)
        });
        Some(Self { factors: least_squares(samples, channels + 1) })
    }

    /// The first of `[B, C, h, w]` latents in colours, a pixel a place; nothing where they have other channels.
    pub fn paint(&self, latents: &HostTensor) -> Option<Picture> {
        let &[_, channels, height, width] = latents.shape().dims() else { return None };
        let (offset, factors) = self.factors.split_last()?;
        if factors.len() != channels {
            return None;
        }
        let values = latents.to_f32();
        let plane = height * width;
        let first = &values[..channels * plane];
        let deviation = (first.iter().map(|v| v * v).sum::<f32>() / first.len() as f32).sqrt();
        let scale = SPREAD / deviation.max(SPREAD);
        let mut pixels = Vec::with_capacity(4 * plane);
        for at in 0..plane {
            for colour in 0..3 {
                let sum: f32 =
                    factors.iter().enumerate().map(|(c, f)| first[c * plane + at] * scale * f[colour]).sum();
                pixels.push(((sum + offset[colour] + 1.0) * 127.5).clamp(0.0, 255.0) as u8);
            }
            pixels.push(255);
        }
        Some(Picture { width, height, channels: 4, pixels })
    }
}

/// The map of `n` inputs to three outputs that fits samples best: the normal equations, by Gauss and Jordan. A little
/// is added to their diagonal, so that inputs that never vary do no harm.
fn least_squares(samples: impl Iterator<Item = (Vec<f64>, [f64; 3])>, n: usize) -> Vec<[f32; 3]> {
    let mut rows = vec![vec![0.0; n + 3]; n];
    for (inputs, outputs) in samples {
        for (row, &input) in rows.iter_mut().zip(&inputs) {
            for (sum, value) in row.iter_mut().zip(inputs.iter().chain(&outputs)) {
                *sum += input * value;
            }
        }
    }
    for i in 0..n {
        rows[i][i] += 1e-3;
        // The matrix is positive definite: no pivot is zero.
        let pivot: Vec<f64> = rows[i].iter().map(|v| v / rows[i][i]).collect();
        for (k, row) in rows.iter_mut().enumerate() {
            let factor = row[i];
            for (value, from) in row.iter_mut().zip(&pivot) {
                *value = if k == i { *from } else { *value - factor * from };
            }
        }
    }
    rows.iter().map(|row| std::array::from_fn(|c| row[n + c] as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_decoder_is_learned() {
        let weights = [
            [0.1, -0.05, 0.025],
            [-0.075, 0.05, 0.1],
            [0.05, 0.05, -0.1],
            [0.025, 0.1, 0.05],
            [0.0, -0.1, 0.05],
        ];
        let latents = Colours::samples([5, 16, 16]);
        let values = latents.to_f32();
        // Two pixels by two for each place, and a colour that no channel has a part in.
        let colour = |y: usize, x: usize, c: usize| {
            let sum: f32 = (0..5).map(|k| values[(k * 16 + y) * 16 + x] * weights[k][c]).sum();
            let byte = ((sum + 0.1 + 1.0) * 127.5).round();
            assert!((0.0..=255.0).contains(&byte), "a decoder that clamps is not linear: {byte}");
            byte as u8
        };
        let pixel = |y: usize, x: usize| {
            [colour(y / 2, x / 2, 0), colour(y / 2, x / 2, 1), colour(y / 2, x / 2, 2), 255]
        };
        let pixels = (0..32).flat_map(|y| (0..32).flat_map(move |x| pixel(y, x))).collect();
        let picture = Picture::new(32, 32, 4, pixels).unwrap();
        let colours = Colours::learned(&latents, &picture).unwrap();
        for (found, wanted) in colours.factors.iter().zip(weights.iter().chain(&[[0.1; 3]])) {
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-3, "{:?}", colours.factors);
            }
        }
        let shown = colours.paint(&latents).unwrap();
        assert_eq!((shown.width, shown.height), (16, 16));
        assert!(colours.paint(&HostTensor::from_f32([1, 4, 2, 2], &[0.0; 16])).is_none());
    }
}
