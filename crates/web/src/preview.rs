//! Latents as a rough picture, without the decoder: one linear map from channels to colours.

use calotype_pipeline::noise::Generator;
use calotype_pipeline::{Pipeline, Result};
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
    /// Those of a model. Four channels are taken for Stable Diffusion's; others are learned from the model's own
    /// decoder, which is shown noise in blocks of two by two, a picture of this size.
    pub async fn of(pipeline: &mut Pipeline, [height, width]: [usize; 2]) -> Result<Self> {
        let vae = &pipeline.model().config.vae;
        let (channels, factor) = (vae.latent_channels, vae.factor());
        if channels == STABLE_DIFFUSION.len() {
            let factors = STABLE_DIFFUSION.into_iter().chain([[0.0; 3]]).collect();
            return Ok(Self { factors });
        }
        let [h, w] = [height / factor, width / factor];
        let mut noise = vec![0.0; channels * h.div_ceil(2) * w.div_ceil(2)];
        Generator::new(0).randn(&mut noise);
        let value = |c: usize, y: usize, x: usize| {
            SPREAD * noise[(c * h.div_ceil(2) + y / 2) * w.div_ceil(2) + x / 2]
        };
        let places = || (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        let latents: Vec<f32> = (0..channels)
            .flat_map(|c| places().map(move |(y, x)| (c, y, x)))
            .map(|(c, y, x)| value(c, y, x))
            .collect();
        let pictures = pipeline.decode_latents(&HostTensor::from_f32([1, channels, h, w], &latents)).await?;
        let pixels = &pictures[0].pixels;

        let samples = places().map(|(y, x)| {
            let inputs: Vec<f64> = (0..channels).map(|c| value(c, y, x).into()).chain([1.0]).collect();
            let mut colour = [0.0; 3];
            for (row, column) in (0..factor).flat_map(|r| (0..factor).map(move |c| (r, c))) {
                let at = 4 * ((y * factor + row) * width + x * factor + column);
                for (sum, byte) in colour.iter_mut().zip(&pixels[at..]) {
                    *sum += (f64::from(*byte) / 127.5 - 1.0) / (factor * factor) as f64;
                }
            }
            (inputs, colour)
        });
        Ok(Self { factors: least_squares(samples, channels + 1) })
    }

    /// The first of `[B, C, h, w]` latents.
    pub fn paint(&self, latents: &HostTensor) -> Option<Preview> {
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
        Some(Preview { width, height, pixels })
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

/// A small picture.
pub struct Preview {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGBA, row by row.
    pub pixels: Vec<u8>,
}
