//! What of a picture is drawn anew.

use super::bad;
use crate::error::Result;

/// A value a pixel, in rows from the top: 255 is drawn anew, 0 is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` values.
    pub values: Vec<u8>,
}

impl Mask {
    /// A mask from its values; errors where their number does not fit the size.
    pub fn new(width: usize, height: usize, values: Vec<u8>) -> Result<Self> {
        match width > 0 && height > 0 && values.len() == width * height {
            true => Ok(Self { width, height, values }),
            false => Err(bad(format!("{} values are no mask of {width}x{height}", values.len()))),
        }
    }

    /// Whether it has nothing drawn anew.
    pub fn is_black(&self) -> bool {
        self.values.iter().all(|value| *value == 0)
    }

    /// Softened by a Gaussian of so many pixels, as A1111 has it done by OpenCV: along rows, then along columns, each to 8
    /// bits, over 2.5 times as many pixels to each side, and mirrored beyond the edges (modules/processing.py).
    pub fn blurred(&self, deviation: f64) -> Self {
        let reach = (2.5 * deviation + 0.5) as usize;
        if reach == 0 {
            return self.clone();
        }
        let weight = |i: usize| (-0.5 * ((i as f64 - reach as f64) / deviation).powi(2)).exp();
        let weights: Vec<f64> = (0..=2 * reach).map(weight).collect();
        let whole: f64 = weights.iter().sum();
        let Self { width, height, ref values } = *self;
        let along = |values: &[u8], at: &dyn Fn(usize, usize, usize) -> usize| -> Vec<u8> {
            let sum = |x: usize, y: usize| {
                let taps = weights.iter().enumerate();
                taps.map(|(i, weight)| weight * f64::from(values[at(x, y, i)])).sum::<f64>() / whole
            };
            (0..width * height).map(|i| sum(i % width, i / width).round() as u8).collect()
        };
        let rows = along(values, &|x, y, i| y * width + mirrored(x + i, reach, width));
        let values = along(&rows, &|x, y, i| mirrored(y + i, reach, height) * width + x);
        Self { width, height, values }
    }

    /// Twice as white, so that what is blended of it lies inside of what it draws anew.
    pub(crate) fn doubled(&self) -> Self {
        Self { values: self.values.iter().map(|value| value.saturating_mul(2)).collect(), ..*self }
    }

    /// How much is kept of each place of latents that are so many times smaller, 1 or 0: by the pixel at its upper left corner,
    /// cut at one half (diffusers: `VaeImageProcessor`, `prepare_mask_latents`).
    pub fn kept(&self, factor: usize) -> Vec<f32> {
        let corner = |x: usize, y: usize| self.values[y * factor * self.width + x * factor];
        let kept = |x: usize, y: usize| if corner(x, y) < 128 { 1.0 } else { 0.0 };
        let [w, h] = [self.width, self.height].map(|side| side / factor);
        (0..w * h).map(|i| kept(i % w, i / w)).collect()
    }
}

/// A place by its distance from one that lies `before` in front of the first of so many, mirrored at the first and the last.
fn mirrored(place: usize, before: usize, count: usize) -> usize {
    let period = (2 * (count - 1)).max(1) as isize;
    let place = (place as isize - before as isize).rem_euclid(period) as usize;
    if count == 1 { 0 } else { place.min(period as usize - place) }
}
