//! What is under a mask made of what is around it, so that there is nothing of it left to see: A1111's (modules/masking.py,
//! `fill`), blurs of what is kept laid over each other, the widest first, as PIL makes them.

use super::{Mask, Picture};

/// Pixels of a blur, and how often it is laid over.
const LAYERS: [(f32, usize); 6] = [(256.0, 1), (64.0, 1), (16.0, 2), (4.0, 4), (2.0, 2), (0.0, 1)];

/// Red, green, blue and how much there is.
type Pixel = [u8; 4];

impl Mask {
    /// A picture of the mask's size with what the mask draws anew filled from what is around it.
    pub fn fill(&self, picture: &Picture) -> Picture {
        let pixels = picture.rgb();
        let kept: Vec<Pixel> = pixels
            .chunks_exact(3)
            .zip(&self.values)
            .map(|(pixel, value)| {
                let share = 255 - value;
                [scaled(pixel[0], share), scaled(pixel[1], share), scaled(pixel[2], share), share]
            })
            .collect();
        let mut filled = vec![[0; 4]; kept.len()];
        for (radius, times) in LAYERS {
            let blurred = blurred(&kept, [self.width, self.height], radius);
            let layer: Vec<Pixel> = blurred.into_iter().map(unscaled).collect();
            for _ in 0..times {
                filled.iter_mut().zip(&layer).for_each(|(under, over)| *under = laid_over(*over, *under));
            }
        }
        let pixels = filled.into_iter().flat_map(|[r, g, b, _]| [r, g, b]).collect();
        Picture { channels: 3, pixels, width: self.width, height: self.height }
    }
}

/// A value as it is of a colour that was held multiplied by its share, in 8 bits, as PIL holds it to lay it over others.
pub(crate) fn faded(value: u8, share: u8) -> u8 {
    unscaled([scaled(value, share), 0, 0, share])[0]
}

/// A share of 255.
fn scaled(value: u8, share: u8) -> u8 {
    ((u32::from(value) * u32::from(share) + 127) / 255) as u8
}

/// A colour out of its share.
fn unscaled([r, g, b, share]: Pixel) -> Pixel {
    let whole = |value: u8| match share {
        0 | 255 => value,
        _ => (255 * u32::from(value) / u32::from(share)).min(255) as u8,
    };
    [whole(r), whole(g), whole(b), share]
}

/// Porter and Duff's `over`, on colours that are not multiplied by their share.
fn laid_over(over: Pixel, under: Pixel) -> Pixel {
    let [own, other] = [over[3], under[3]].map(f64::from);
    if own == 0.0 {
        return under;
    }
    let share = own + other * (255.0 - own) / 255.0;
    let colour = |i: usize| {
        let [new, old] = [over[i], under[i]].map(f64::from);
        (old + (new - old) * own / share).round() as u8
    };
    [colour(0), colour(1), colour(2), share.round() as u8]
}

/// PIL's Gaussian: three boxes whose edge pixels count in part (libImaging/BoxBlur.c; Gwosdek et al. 2011).
fn blurred(pixels: &[Pixel], [width, height]: [usize; 2], radius: f32) -> Vec<Pixel> {
    if radius == 0.0 {
        return pixels.to_vec();
    }
    const PASSES: usize = 3;
    let variance = radius * radius / PASSES as f32;
    let whole = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    let (whole, reach) = (whole as usize, whole + part);
    // Of 2^24 each pixel's weight, and each of the two edges'.
    let each = (16_777_216.0 / (2.0 * reach + 1.0)) as u64;
    let edge = (16_777_216 - (2 * whole as u64 + 1) * each) / 2;
    let mut pixels = pixels.to_vec();
    let mut along = |starts: &mut dyn Iterator<Item = usize>, stride: usize, count: usize| {
        for start in starts {
            let mut line: Vec<Pixel> = (0..count).map(|i| pixels[start + i * stride]).collect();
            for _ in 0..PASSES {
                line = boxed(&line, whole, [each, edge]);
            }
            line.into_iter().enumerate().for_each(|(i, pixel)| pixels[start + i * stride] = pixel);
        }
    };
    along(&mut (0..height).map(|y| y * width), 1, width);
    along(&mut (0..width), width, height);
    pixels
}

/// Each pixel the mean of its neighbours, as far as a line goes, whose ends go on.
fn boxed(line: &[Pixel], reach: usize, [each, edge]: [u64; 2]) -> Vec<Pixel> {
    let last = line.len() - 1;
    let at = |place: isize, channel: usize| u64::from(line[place.clamp(0, last as isize) as usize][channel]);
    let reach = reach as isize;
    let mut sums: [u64; 4] = std::array::from_fn(|c| (-reach - 1..reach).map(|place| at(place, c)).sum());
    let pixel = |x: isize, sums: &mut [u64; 4]| {
        std::array::from_fn(|c| {
            sums[c] = sums[c] + at(x + reach, c) - at(x - reach - 1, c);
            let edges = at(x - reach - 1, c) + at(x + reach + 1, c);
            ((sums[c] * each + edges * edge + (1 << 23)) >> 24) as u8
        })
    };
    (0..line.len() as isize).map(|x| pixel(x, &mut sums)).collect()
}
