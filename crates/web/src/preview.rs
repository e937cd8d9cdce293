//! Latents as a rough picture, without the decoder: one linear map from channels to colours.

use calotype_tensor::HostTensor;

/// What each of the four channels of Stable Diffusion 1 and 2 adds to red, green and blue: a fit to pictures that
/// ComfyUI uses for its own previews (comfy/latent_formats.py, `SD15.latent_rgb_factors`).
const FACTORS: [[f32; 3]; 4] = [
    [0.3512, 0.2297, 0.3227],
    [0.3250, 0.4974, 0.2350],
    [-0.2829, 0.1762, 0.2721],
    [-0.2120, -0.2616, -0.7177],
];

/// The first of `[B, 4, h, w]` latents as `[h, w, 4]` RGBA8; none where they have another number of channels.
///
/// Samplers that work in sigmas begin far outside the range of latents, so what is too wide is scaled to one
/// standard deviation.
pub fn rgba(latents: &HostTensor) -> Option<Preview> {
    let &[_, 4, height, width] = latents.shape().dims() else { return None };
    let values = latents.to_f32();
    let plane = height * width;
    let first = &values[..4 * plane];
    let deviation = (first.iter().map(|v| v * v).sum::<f32>() / first.len() as f32).sqrt();
    let scale = 1.0 / deviation.max(1.0);
    let mut pixels = Vec::with_capacity(4 * plane);
    for at in 0..plane {
        for colour in 0..3 {
            let sum: f32 =
                FACTORS.iter().enumerate().map(|(c, f)| first[c * plane + at] * scale * f[colour]).sum();
            pixels.push(((sum + 1.0) * 127.5).clamp(0.0, 255.0) as u8);
        }
        pixels.push(255);
    }
    Some(Preview { width, height, pixels })
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
