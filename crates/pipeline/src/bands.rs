//! Rows of something as high as a picture, so many at a time.

use calotype_models::vae_layers::HALO;
use std::ops::Range;

/// Bands of as many rows each, spread evenly, which overlap by what a layer's rows depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bands {
    height: usize,
    /// A band's rows.
    pub rows: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// Its first row.
    pub start: usize,
    /// Which of its rows it alone is to give, counted from its first.
    pub own: Range<usize>,
}

impl Bands {
    /// Below that most of a band is what it shares.
    const FEWEST: usize = 8;

    /// Of so many rows, of so many at a time.
    pub fn new(height: usize, rows: usize) -> Self {
        Self { height, rows: rows.max(Self::FEWEST).min(height) }
    }

    /// Rows at a time of a picture so high, from one band to the smallest.
    pub fn choices(height: usize) -> Vec<usize> {
        let least = 2 * Self::FEWEST;
        let mut choices: Vec<usize> =
            (2..=height).map(|count| (height / count + 2 * HALO).next_multiple_of(8)).collect();
        choices.retain(|rows| (least..height).contains(rows));
        choices.dedup();
        choices
    }

    /// How many.
    pub fn count(self) -> usize {
        if self.rows == self.height { 1 } else { (self.height - 2 * HALO).div_ceil(self.rows - 2 * HALO) }
    }

    /// From top to bottom.
    pub fn all(self) -> impl Iterator<Item = Band> {
        let (count, last) = (self.count(), self.height - self.rows);
        let start = move |at: usize| if count == 1 { 0 } else { last * at / (count - 1) };
        let end = move |at: usize| if at + 1 == count { self.height } else { start(at) + self.rows - HALO };
        (0..count).map(move |at| {
            let (start, from) = (start(at), if at == 0 { 0 } else { end(at - 1) });
            Band { start, own: from - start..end(at) - start }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_give_every_row_once_and_see_its_neighbours() {
        for (height, rows) in
            [(512, 40), (513, 16), (64, 64), (9, 8), (100, 99), (17, 24), (3, 8), (1024, 520)]
        {
            let bands = Bands::new(height, rows);
            let mut next = 0;
            for Band { start, own } in bands.all() {
                assert_eq!(start + own.start, next, "{bands:?}");
                next = start + own.end;
                let (top, bottom) = (start == 0, start + bands.rows == height);
                assert!(!own.is_empty() && own.start >= if top { 0 } else { HALO }, "{bands:?}");
                assert!(own.end <= bands.rows - if bottom { 0 } else { HALO }, "{bands:?}");
            }
            assert_eq!((next, bands.all().count()), (height, bands.count()));
        }
    }

    #[test]
    fn choices_are_ever_fewer_rows() {
        let choices = Bands::choices(512);
        assert_eq!((choices[0], choices[choices.len() - 1]), (264, 16));
        assert!(choices.is_sorted_by(|a, b| a > b));
        assert_eq!(Bands::choices(16), [0; 0]);
    }
}
