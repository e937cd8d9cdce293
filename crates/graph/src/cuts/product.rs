use super::tiles::Tile;
use std::collections::HashMap;
use std::fmt;

/// What the best cut of a product depends on. A convolution is a product too: of its pixels' neighbourhoods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product {
    /// The kernel: `matmul` or `conv2d`.
    pub stem: &'static str,
    /// How activations and weights are stored, as the kernel's defines.
    pub storage: [&'static str; 2],
    /// What the kernel does besides, as its define.
    pub role: Option<&'static str>,
    /// Rows of the result: tokens, or pixels of all images.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// The numbers that are multiplied and summed for each result.
    pub k: usize,
    /// Whether each operand's share of k, of a convolution each tap's, is whole slices: what matrices take.
    pub whole: bool,
}

/// A way to cut up a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    pub(crate) tile: &'static Tile,
    /// Parts of k that workgroups of their own sum up; 1 where k is left whole.
    pub splits: usize,
}

/// What slices of k are multiples of: what every tile takes at a time.
pub(crate) const SLICE: usize = 64;

/// In a product's name, that it is not of whole slices.
const ODD: &str = "ODD";

/// What was found best on a device, by measuring.
pub type Tuned = HashMap<Product, Cut>;

impl Product {
    /// What [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        const WORDS: [&str; 15] = [
            "matmul", "conv2d", "A_F32", "A_F16", "A_H16", "W_F32", "W_F16", "W_N16", "W_H16", "W_Q8",
            "W_Q4", "W_N8", "W_N4", "MOMENTS", "NORM",
        ];
        let words: Vec<&str> = text.split(' ').collect();
        let (sizes, named) = words.split_last()?;
        let known = |word: &&str| WORDS.into_iter().find(|known| known == word);
        let (named, whole) = named.strip_suffix(&[ODD]).map_or((named, true), |rest| (rest, false));
        let (stem, storage, role) = match *named.iter().map(known).collect::<Option<Vec<_>>>()? {
            [stem, a, w] => (stem, [a, w], None),
            [stem, a, w, role] => (stem, [a, w], Some(role)),
            _ => return None,
        };
        let sizes: Vec<usize> = sizes.split('x').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let [rows, columns, k] = sizes[..] else { return None };
        Some(Self { stem, storage, role, rows, columns, k, whole })
    }

    /// The defines of the kernel that does it in tiles of one kind.
    pub(crate) fn whole(&self, tile: &Tile) -> Vec<&'static str> {
        self.storage.iter().chain(tile.defines).copied().chain(self.role).collect()
    }

    /// The defines of the kernel that sums slices of k. What is done to the operands happens there; there is none that
    /// normalises them.
    pub(crate) fn split(&self, tile: &Tile) -> Vec<&'static str> {
        let role = self.role.filter(|role| *role != "MOMENTS");
        self.storage.iter().chain(tile.defines).copied().chain(role).chain(["SPLIT"]).collect()
    }

    /// The defines of the kernel that adds those up. What is done to the results happens here.
    pub(crate) fn join(&self) -> Vec<&'static str> {
        let role = self.role.filter(|role| *role == "MOMENTS");
        [self.storage[0], "JOIN"].into_iter().chain(role).collect()
    }
}

impl Cut {
    pub(super) fn whole(tile: &'static Tile) -> Self {
        Self { tile, splits: 1 }
    }

    /// About `splits` slices of a product's `k`. None where that is no more than one.
    pub(super) fn split(tile: &'static Tile, k: usize, splits: usize) -> Option<Self> {
        let cut = Self { tile, splits };
        let splits = k.div_ceil(cut.slice(k));
        (splits > 1).then_some(Self { splits, ..cut })
    }

    /// How much of `k` a workgroup sums.
    pub(crate) fn slice(&self, k: usize) -> usize {
        k.div_ceil(self.splits).next_multiple_of(SLICE)
    }

    /// Bytes of the slices' sums, which are f32.
    pub(crate) fn scratch(&self, product: &Product) -> Option<u64> {
        (self.splits > 1).then_some((4 * self.splits * product.rows * product.columns) as u64)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stem, storage: [a, w], role, rows, columns, k, whole } = self;
        write!(f, "{stem} {a} {w} ")?;
        for word in role.iter().copied().chain((!whole).then_some(ODD)) {
            write!(f, "{word} ")?;
        }
        write!(f, "{rows}x{columns}x{k}")
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.splits {
            1 => self.tile.fmt(f),
            splits => write!(f, "{} k/{splits}", self.tile),
        }
    }
}
