//! The part of a picture that is drawn, where that is not all of it.

use super::{Mask, Picture};

/// A part of a picture, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Pixels to its left.
    pub left: usize,
    /// Pixels above it.
    pub top: usize,
    /// Its own.
    pub width: usize,
    /// Its own.
    pub height: usize,
}

impl Area {
    /// The least that holds all that a mask draws anew and so many pixels more on each side, grown to the shape of what is drawn
    /// as far as the picture goes (A1111: modules/masking.py, `expand_crop_region`; diffusers: `get_crop_region`). None where
    /// nothing is.
    pub fn around(mask: &Mask, padding: usize, [width, height]: [usize; 2]) -> Option<Self> {
        let columns =
            (0..mask.width).filter(|x| (0..mask.height).any(|y| mask.values[y * mask.width + x] > 0));
        let rows = mask.values.chunks_exact(mask.width).enumerate();
        let rows = rows.filter(|(_, row)| row.iter().any(|value| *value > 0)).map(|(y, _)| y);
        let padded = |mut places: Box<dyn Iterator<Item = usize> + '_>, most: usize| {
            let first = places.next()?;
            let last = places.last().unwrap_or(first);
            Some([first.saturating_sub(padding), (last + 1 + padding).min(most)])
        };
        let x = padded(Box::new(columns), mask.width)?;
        let y = padded(Box::new(rows), mask.height)?;
        let (own, shape) = ((x[1] - x[0]) as f64 / (y[1] - y[0]) as f64, width as f64 / height as f64);
        let [x, y] = match own > shape {
            true => [x, grown(y, (x[1] - x[0]) as f64 / shape, mask.height)],
            false => [grown(x, (y[1] - y[0]) as f64 * shape, mask.width), y],
        };
        Some(Self { left: x[0], top: y[0], width: x[1] - x[0], height: y[1] - y[0] })
    }
}

/// A stretch made longer to both sides, moved within what there is, and cut where it is longer than that.
fn grown([from, to]: [usize; 2], wanted: f64, most: usize) -> [usize; 2] {
    let more = (wanted - (to - from) as f64).max(0.0) as isize;
    let (from, to, most) =
        (from as isize - more / 2, (to + more as usize) as isize - more / 2, most as isize);
    let over = (to - most).max(0);
    let (from, to) = (from - over, to - over);
    let below = (-from).max(0);
    [(from + below) as usize, (to + below).min(most) as usize]
}

impl Mask {
    /// A part of it.
    pub fn part(&self, area: Area) -> Self {
        let row = |y: usize| &self.values[(area.top + y) * self.width + area.left..][..area.width];
        let values = (0..area.height).flat_map(|y| row(y).to_vec()).collect();
        Self { width: area.width, height: area.height, values }
    }

    /// The mask on a larger canvas, with so many pixels to the left, above, to the right and below, all of which is drawn anew.
    pub fn outpainted(&self, sides: [usize; 4]) -> Self {
        let inside = |x: usize, y: usize| {
            let (x, y) = (x.checked_sub(sides[0])?, y.checked_sub(sides[1])?);
            (x < self.width && y < self.height).then(|| self.values[y * self.width + x])
        };
        let [width, height] = larger([self.width, self.height], sides);
        let values = (0..width * height).map(|i| inside(i % width, i / width).unwrap_or(255)).collect();
        Self { width, height, values }
    }
}

/// A size with so many pixels more to the left, above, to the right and below.
pub(crate) fn larger([width, height]: [usize; 2], [left, top, right, bottom]: [usize; 4]) -> [usize; 2] {
    [width + left + right, height + top + bottom]
}

impl Picture {
    /// A part of it, in three channels.
    pub fn part(&self, area: Area) -> Self {
        let pixels = self.rgb();
        let row = |y: usize| &pixels[3 * ((area.top + y) * self.width + area.left)..][..3 * area.width];
        let pixels = (0..area.height).flat_map(|y| row(y).to_vec()).collect();
        Self { width: area.width, height: area.height, channels: 3, pixels }
    }

    /// The picture on a larger canvas, onto which its edges go on.
    pub fn outpainted(&self, sides: [usize; 4]) -> Self {
        let [width, height] = larger([self.width, self.height], sides);
        let own = self.rgb();
        let place = |to: usize, before: usize, count: usize| to.saturating_sub(before).min(count - 1);
        let pixel = |i: usize| {
            let x = place(i % width, sides[0], self.width);
            let at = 3 * (place(i / width, sides[1], self.height) * self.width + x);
            [own[at], own[at + 1], own[at + 2]]
        };
        Self { width, height, channels: 3, pixels: (0..width * height).flat_map(pixel).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What A1111's own functions make of some boxes.
    #[test]
    fn areas_are_those_of_a1111() {
        let around = |[left, top, right, bottom]: [usize; 4], size: [usize; 2]| {
            let white = |i: usize| (left..right).contains(&(i % 1024)) && (top..bottom).contains(&(i / 1024));
            let values = (0..1024 * 768).map(|i| 255 * u8::from(white(i))).collect();
            let mask = Mask { width: 1024, height: 768, values };
            let area = Area::around(&mask, 0, size).unwrap();
            [area.left, area.top, area.left + area.width, area.top + area.height]
        };
        assert_eq!(around([100, 100, 228, 132], [512, 512]), [100, 52, 228, 180]);
        assert_eq!(around([0, 700, 100, 768], [512, 512]), [0, 668, 100, 768]);
        assert_eq!(around([10, 10, 40, 700], [512, 512]), [0, 10, 690, 700]);
        assert_eq!(around([900, 5, 1000, 15], [768, 512]), [900, 0, 1000, 66]);
        let black = Mask { width: 2, height: 2, values: vec![0; 4] };
        assert_eq!(Area::around(&black, 32, [8, 8]), None);
    }
}
