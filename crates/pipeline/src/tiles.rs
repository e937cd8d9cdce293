//! A picture decoded in overlapping tiles, blended where they overlap: less memory, and a picture that differs slightly, since
//! each tile is normed by its own statistics.

use crate::error::Result;
use crate::image::Picture;
use std::fmt;

/// Tiles of one size, spread evenly over a picture. Sizes are latents'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tiles {
    /// Rows and columns of tiles.
    pub count: [usize; 2],
    /// A tile's height and width.
    pub size: [usize; 2],
}

/// Whether pictures are decoded in tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaeTiling {
    /// Where they must, to keep within a limit.
    #[default]
    Auto,
    /// Where they are larger than the tile that is usual (512 pixels).
    On,
    /// In no tiles, but where they must layer by layer, some rows at a time, which leaves the picture as it is.
    Exact,
    /// Never.
    Off,
}

/// Places by which neighbours overlap at least: diffusers' quarter of a tile of 64 (`AutoencoderKL.tile_overlap_factor`).
const OVERLAP: usize = 16;

/// diffusers' `tile_latent_min_size` of Stable Diffusion's VAE.
const USUAL: usize = 64;

/// The next multiple of eight is all overlap.
const SMALLEST: usize = 24;

impl Tiles {
    /// So many tiles over latents of a height and width.
    fn new(full: [usize; 2], count: [usize; 2]) -> Self {
        // Multiples of eight suit the kernels.
        let side = |axis: usize| {
            let own = (full[axis] + (count[axis] - 1) * OVERLAP).div_ceil(count[axis]);
            own.next_multiple_of(8).min(full[axis])
        };
        Self { count, size: [side(0), side(1)] }
    }

    /// Ever smaller ones, fewest first.
    pub(crate) fn of(full: [usize; 2]) -> impl Iterator<Item = Self> {
        let finer = move |tiles: &Self| {
            let more = |axis: usize| {
                let with = |count: usize| {
                    let mut counts = tiles.count;
                    counts[axis] = count;
                    Self::new(full, counts)
                };
                let is_less = |finer: &Self| finer.size[axis] < tiles.size[axis];
                let can_be = tiles.size[axis] > SMALLEST;
                can_be.then(|| (tiles.count[axis] + 1..).map(with).find(is_less)).flatten()
            };
            let axis = usize::from(tiles.size[1] > tiles.size[0]);
            more(axis).or_else(|| more(1 - axis))
        };
        let whole = Self::new(full, [1, 1]);
        std::iter::successors(Some(whole), finer).skip(1)
    }

    /// Of the usual size; none where the picture is no larger.
    pub(crate) fn usual(full: [usize; 2]) -> Option<Self> {
        let count = full.map(|side| match side {
            0..=USUAL => 1,
            _ => (side - OVERLAP).div_ceil(USUAL - OVERLAP),
        });
        (count != [1, 1]).then(|| Self::new(full, count))
    }

    /// Where the tiles of an axis begin.
    fn starts(&self, axis: usize, full: usize) -> Vec<usize> {
        let (count, last) = (self.count[axis], full - self.size[axis]);
        (0..count).map(|i| if count == 1 { 0 } else { (last * i + (count - 1) / 2) / (count - 1) }).collect()
    }

    /// Each tile's top and left, row by row.
    pub(crate) fn places(&self, full: [usize; 2]) -> Vec<[usize; 2]> {
        let (tops, lefts) = (self.starts(0, full[0]), self.starts(1, full[1]));
        tops.iter().flat_map(|top| lefts.iter().map(|left| [*top, *left])).collect()
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([rows, columns], [height, width]) = (self.count, self.size);
        write!(f, "{columns}x{rows} tiles of {width}x{height} latents")
    }
}

/// A picture as its tiles come.
pub(crate) struct Blend {
    tiles: Tiles,
    full: [usize; 2],
    factor: usize,
    sums: Vec<f32>,
}

impl Blend {
    /// Of latents of a height and width, each of which becomes so many pixels a side.
    pub fn new(tiles: Tiles, full: [usize; 2], factor: usize) -> Self {
        let pixels = full[0] * full[1] * factor * factor;
        Self { tiles, full, factor, sums: vec![0.0; 3 * pixels] }
    }

    /// Adds a tile.
    pub fn add(&mut self, [top, left]: [usize; 2], tile: &Picture) {
        let [rows, columns] = [(0, top), (1, left)].map(|(axis, at)| self.shares(axis, at));
        let (width, factor) = (self.full[1] * self.factor, self.factor);
        for (y, row) in rows.iter().enumerate() {
            let from = 3 * ((top * factor + y) * width + left * factor);
            let to = self.sums[from..].chunks_exact_mut(3);
            let pixels = tile.pixels[y * tile.width * tile.channels..].chunks_exact(tile.channels);
            for ((to, pixel), column) in to.zip(pixels).zip(&columns) {
                to.iter_mut().zip(pixel).for_each(|(to, v)| *to += row * column * f32::from(*v));
            }
        }
    }

    /// What a tile that begins at `at` has of each of its pixels along an axis: all, but where it overlaps another, there it
    /// fades. Shares of all tiles are 1 together.
    fn shares(&self, axis: usize, at: usize) -> Vec<f32> {
        let (starts, size) = (self.tiles.starts(axis, self.full[axis]), self.tiles.size[axis]);
        let pixels = |places: usize| (places * self.factor) as f32;
        // A tile's claim to a pixel: how deep inside it lies, as far as neighbours go, squared. At its edge a tile lacks what lies
        // beyond, and so little of that shows: by a linear claim five of 255, by its square one.
        let claim = |start: usize, x: f32| {
            let (from, to) = (pixels(start), pixels(start + size));
            let before = starts.iter().filter(|s| **s < start).map(|s| pixels(s + size)).fold(0.0, f32::max);
            let after = starts.iter().filter(|s| **s > start).map(|s| pixels(*s)).fold(f32::MAX, f32::min);
            let rise = if before > from { (x - from) / (before - from) } else { 1.0 };
            let fall = if after < to { (to - x) / (to - after) } else { 1.0 };
            let inside = x > from && x < to;
            if inside { (rise.min(1.0) * fall.min(1.0)).powi(2) } else { 0.0 }
        };
        let share = |x: usize| {
            let x = pixels(at) + x as f32 + 0.5;
            claim(at, x) / starts.iter().map(|start| claim(*start, x)).sum::<f32>()
        };
        (0..size * self.factor).map(share).collect()
    }

    /// The picture.
    pub fn finish(self) -> Result<Picture> {
        let [height, width] = self.full.map(|side| side * self.factor);
        let opaque = |rgb: &[f32]| [rgb[0], rgb[1], rgb[2], 255.0].map(|v| v.round() as u8);
        Picture::new(width, height, 4, self.sums.chunks_exact(3).flat_map(opaque).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_picture_and_overlap() {
        for full in [[128, 128], [64, 128], [65, 200], [128, 41], [96, 8]] {
            let mut last = full[0] * full[1];
            for tiles in Tiles::of(full).chain(Tiles::usual(full)) {
                let [h, w] = tiles.size;
                assert!(h <= full[0] && w <= full[1], "{tiles:?}");
                for (axis, &full) in full.iter().enumerate() {
                    let starts = tiles.starts(axis, full);
                    assert_eq!((starts[0], starts.len()), (0, tiles.count[axis]));
                    assert_eq!(starts[starts.len() - 1] + tiles.size[axis], full, "{tiles:?}");
                    let apart = starts.windows(2).map(|s| s[1] - s[0]).max().unwrap_or(0);
                    assert!(apart + OVERLAP <= tiles.size[axis].max(OVERLAP), "{tiles:?} {starts:?}");
                }
            }
            for tiles in Tiles::of(full) {
                assert!(tiles.size[0] * tiles.size[1] < last, "{tiles:?}");
                last = tiles.size[0] * tiles.size[1];
            }
        }
        let sizes = |full| Tiles::of(full).map(|t| t.size).collect::<Vec<_>>();
        assert_eq!(sizes([64, 64]), [[40, 64], [40, 40], [32, 40], [32, 32], [24, 32], [24, 24]]);
        assert_eq!(sizes([24, 16]), [[0; 2]; 0]);
        assert_eq!(Tiles::usual([64, 64]), None);
        assert_eq!(Tiles::usual([128, 64]).map(|t| (t.count, t.size)), Some(([3, 1], [56, 64])));
    }

    #[test]
    fn equal_tiles_blend_into_what_they_are_of() {
        let (full, factor) = ([100, 48], 2);
        for tiles in Tiles::of(full) {
            let mut blend = Blend::new(tiles, full, factor);
            let value = |y: usize, x: usize| [y as u8, x as u8, (x + y) as u8];
            for [top, left] in tiles.places(full) {
                let [h, w] = tiles.size.map(|side| side * factor);
                let at = |i: usize| value(top * factor + i / w, left * factor + i % w);
                let pixels = (0..h * w).flat_map(|i| [at(i)[0], at(i)[1], at(i)[2], 255]).collect();
                blend.add([top, left], &Picture::new(w, h, 4, pixels).unwrap());
            }
            let picture = blend.finish().unwrap();
            let width = full[1] * factor;
            for (i, pixel) in picture.pixels.chunks_exact(4).enumerate() {
                let [r, g, b] = value(i / width, i % width);
                assert_eq!(pixel, [r, g, b, 255], "{tiles:?} at {i}");
            }
        }
    }
}
