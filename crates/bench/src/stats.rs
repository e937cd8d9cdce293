//! What repeated measurements say, and whether two sets of them differ.

use serde::{Deserialize, Serialize};

/// Repeated measurements of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// All of them, in the order in which they were taken.
    pub samples: Vec<f64>,
}

/// A difference below this share of the first is not worth telling, however certain: clocks wander that much.
const SMALL: f64 = 0.01;

/// How likely, at most, a difference may be by luck.
const LUCK: f64 = 0.05;

/// How one set of measurements stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of the second are below all of the first.
    Less,
    /// All of the second are above all of the first.
    More,
    /// The two overlap, or differ by less than is worth telling.
    Noise,
    /// There are not enough of them to tell.
    TooFew,
}

impl Samples {
    /// Of at least one measurement; of none, zeros.
    pub fn new(samples: Vec<f64>) -> Self {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
        let last = sorted.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, min: at(0), max: at(last), samples }
    }

    /// The same in another unit.
    pub fn times(&self, factor: f64) -> Self {
        Self::new(self.samples.iter().map(|s| s * factor).collect())
    }

    /// From the least to the most, as a share of the median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }

    /// How `self` stands to `before`. Two sets differ where their ranges do not touch, their medians are more than
    /// 1 % apart, and it would rarely happen by luck: of n and m measurements of one thing, in any order, all of one
    /// set lie beyond all of the other in 2 of (n+m choose n) cases (the extreme of Mann and Whitney's U, Annals of
    /// Mathematical Statistics 18, 1947); at most one in twenty is asked for, so at least four of each.
    pub fn against(&self, before: &Self) -> Verdict {
        if 2.0 / choose(self.samples.len() + before.samples.len(), self.samples.len()) > LUCK {
            return Verdict::TooFew;
        }
        let small = (self.median - before.median).abs() <= SMALL * before.median;
        if small {
            Verdict::Noise
        } else if self.max < before.min {
            Verdict::Less
        } else if self.min > before.max {
            Verdict::More
        } else {
            Verdict::Noise
        }
    }
}

/// n choose k.
fn choose(n: usize, k: usize) -> f64 {
    (1..=k).map(|i| (n - k + i) as f64 / i as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[f64]) -> Samples {
        Samples::new(samples.to_vec())
    }

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!((of(&[2.0, 1.0]).min, of(&[2.0, 1.0]).max), (1.0, 2.0));
        assert_eq!(of(&[]).median, 0.0);
        assert_eq!(of(&[1.0, 3.0]).spread(), 1.0);
    }

    #[test]
    fn sets_differ_where_they_do_not_touch() {
        let slow = of(&[1.0, 1.1, 1.05, 1.02]);
        assert_eq!(of(&[0.7, 0.8, 0.75, 0.9]).against(&slow), Verdict::Less);
        assert_eq!(slow.against(&of(&[0.7, 0.8, 0.75, 0.9])), Verdict::More);
        assert_eq!(of(&[0.7, 0.8, 1.01, 0.9]).against(&slow), Verdict::Noise);
        assert_eq!(slow.against(&slow), Verdict::Noise);
        // Apart, but by less than a hundredth.
        let one = of(&[1.0, 1.0001, 1.0002, 1.0003]);
        assert_eq!(one.times(1.005).against(&one), Verdict::Noise);
        assert_eq!(one.times(1.02).against(&one), Verdict::More);
    }

    #[test]
    fn three_of_each_tell_nothing() {
        // 2 of (6 choose 3) is one in ten; 2 of (8 choose 4) is one in 35.
        assert_eq!(of(&[1.0, 1.0, 1.0]).against(&of(&[9.0, 9.0, 9.0])), Verdict::TooFew);
        assert_eq!(of(&[1.0]).against(&of(&[9.0; 9])), Verdict::TooFew);
        assert_eq!(of(&[1.0; 4]).against(&of(&[9.0; 4])), Verdict::Less);
    }
}
