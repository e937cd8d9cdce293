//! CompVis' invisible watermark: the method dwtDct of the package invisible-watermark (imwatermark/maxDct.py), which in spite
//! of its name takes no cosine transform. Of the blue difference's wavelets, in squares of four by four, the largest but the
//! first is moved to a place within a step that says a bit.

use super::Picture;

/// The step, and the side of a square.
const STEP: f64 = 36.0;
const SIDE: usize = 4;

/// The Haar wavelet's coefficient as PyWavelets has it.
const HAAR: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Pixels below which the package refuses.
const LEAST: usize = 256 * 256;

impl Picture {
    /// Whether a picture of a size can carry a watermark.
    pub fn takes_watermark(width: usize, height: usize) -> bool {
        width * height >= LEAST
    }

    /// The picture in RGB with a message's bits in it, over and over, highest bit first; as it is where it is too small.
    pub fn watermarked(&self, message: &[u8]) -> Picture {
        let mut yuv: Vec<[u8; 3]> = self.rgb().chunks_exact(3).map(|p| to_yuv([p[0], p[1], p[2]])).collect();
        if Self::takes_watermark(self.width, self.height) && !message.is_empty() {
            mark(&mut yuv, self.width, self.height, message);
        }
        let pixels = yuv.into_iter().flat_map(to_rgb).collect();
        Picture { channels: 3, pixels, ..*self }
    }
}

/// OpenCV's fixed point, 14 bits (color_yuv.simd.hpp).
fn descale(value: i32) -> i32 {
    (value + (1 << 13)) >> 14
}

fn to_yuv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(i32::from);
    let y = descale(r * 4899 + g * 9617 + b * 1868);
    let difference = |colour: i32, scale: i32| descale((colour - y) * scale + (128 << 14));
    [y, difference(b, 8061), difference(r, 14369)].map(|v| v.clamp(0, 255) as u8)
}

fn to_rgb([y, u, v]: [u8; 3]) -> [u8; 3] {
    let [y, u, v] = [i32::from(y), i32::from(u) - 128, i32::from(v) - 128];
    let [r, g, b] = [v * 18678, u * -6472 + v * -9519, u * 33292].map(|part| y + descale(part));
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// Writes the message into U.
fn mark(yuv: &mut [[u8; 3]], width: usize, height: usize, message: &[u8]) {
    let (rows, columns) = (height / 4 * 2, width / 4 * 2);
    let bits = 8 * message.len();
    let bit = |i: usize| f64::from(message[i % bits / 8] >> (7 - i % 8) & 1);
    let mut parts = vec![[0.0; 4]; rows * columns];
    for (i, part) in parts.iter_mut().enumerate() {
        let at = i / columns * 2 * width + i % columns * 2;
        *part = wavelets([at, at + 1, at + width, at + width + 1].map(|at| f64::from(yuv[at][1])));
    }
    let across = columns / SIDE;
    for square in 0..rows / SIDE * across {
        let corner = square / across * SIDE * columns + square % across * SIDE;
        let places = (1..SIDE * SIDE).map(|k| corner + k / SIDE * columns + k % SIDE);
        // The first of those that are largest.
        let most = places.fold(None, |most: Option<usize>, place| match most {
            Some(most) if parts[most][0].abs() >= parts[place][0].abs() => Some(most),
            _ => Some(place),
        });
        let Some(value) = most.map(|place| &mut parts[place][0]) else { continue };
        let size = value.abs();
        let whole = ((size - size % STEP) / STEP).round();
        let moved = (whole + 0.25 + 0.5 * bit(square)) * STEP;
        *value = if *value >= 0.0 { moved } else { -moved };
    }
    for (i, part) in parts.iter().enumerate() {
        let at = i / columns * 2 * width + i % columns * 2;
        for (at, value) in [at, at + 1, at + width, at + width + 1].into_iter().zip(pixels(*part)) {
            // As numpy stores a float in a byte.
            yuv[at][1] = value as i64 as u8;
        }
    }
}

/// Of two by two pixels: mean, vertical, horizontal and diagonal difference, each up to a factor. Columns first, and sums in
/// the package's order: what is cut to a byte later hangs on the last bit.
fn wavelets([a, b, c, d]: [f64; 4]) -> [f64; 4] {
    let low = |first: f64, second: f64| HAAR * second + HAAR * first;
    let high = |first: f64, second: f64| -HAAR * second + HAAR * first;
    let (left, right) = ([low(a, c), high(a, c)], [low(b, d), high(b, d)]);
    [low(left[0], right[0]), low(left[1], right[1]), high(left[0], right[0]), high(left[1], right[1])]
}

/// Back, with vertical and horizontal in each other's place, as the package has them.
fn pixels([mean, vertical, horizontal, diagonal]: [f64; 4]) -> [f64; 4] {
    let (vertical, horizontal) = (horizontal, vertical);
    let pair = |low: f64, high: f64| [HAAR * low + HAAR * high, HAAR * low + -HAAR * high];
    let ([upper_left, upper_right], [lower_left, lower_right]) =
        (pair(mean, horizontal), pair(vertical, diagonal));
    let ([a, c], [b, d]) = (pair(upper_left, lower_left), pair(upper_right, lower_right));
    [a, b, c, d]
}
