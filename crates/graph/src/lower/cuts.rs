//! How a product is cut up among workgroups, and who decides: whoever forces one, else what was measured on this
//! device, else an estimate by the table of tiles.

use super::Caps;
use super::bind::{activations, vector, weights};
use super::tiles::{Tile, tiles};
use crate::graph::Node;
use crate::ops::{Op, Shapes};
use crate::{Graph, Precision, ValueId};
use calotype_shaders::Variant;
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
}

/// A way to cut up a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    pub(super) tile: &'static Tile,
    /// Parts of k that workgroups of their own sum up; 1 where k is left whole.
    pub splits: usize,
}

/// What was found best on a device, by measuring.
pub type Tuned = HashMap<Product, Cut>;

impl Product {
    /// The product that a node is. None where it is none, or one of channel counts that are no multiple of four, whose
    /// kernel has nothing to choose.
    pub fn of(graph: &Graph, node: &Node, precision: Precision, caps: &Caps) -> Option<Self> {
        let shape = |v: ValueId| graph.shape(v);
        let (stem, weight, role) = match &node.op {
            Op::Matmul(op) if op.norm.is_some() => ("matmul", op.weight, Some("NORM")),
            Op::Matmul(op) => ("matmul", op.weight, op.moments.then_some("MOMENTS")),
            Op::Conv2d(op) => ("conv2d", op.weight, None),
            _ => return None,
        };
        let (k, columns) = (shape(weight).dims()[0], shape(weight).channels());
        let along = match &node.op {
            Op::Conv2d(op) => shape(op.x).channels(),
            _ => k,
        };
        let storage = [activations(precision, caps), weights(graph, weight, precision, caps)];
        let rows = shape(node.output).rows();
        (vector(&[along, columns]) == 4).then_some(Self { stem, storage, role, rows, columns, k })
    }

    /// What [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        const WORDS: [&str; 10] =
            ["matmul", "conv2d", "A_F32", "A_F16", "A_H16", "W_F32", "W_F16", "W_H16", "MOMENTS", "NORM"];
        let words: Vec<&str> = text.split(' ').collect();
        let (sizes, named) = words.split_last()?;
        let known = |word: &&str| WORDS.into_iter().find(|known| known == word);
        let (stem, storage, role) = match *named.iter().map(known).collect::<Option<Vec<_>>>()? {
            [stem, a, w] => (stem, [a, w], None),
            [stem, a, w, role] => (stem, [a, w], Some(role)),
            _ => return None,
        };
        let sizes: Vec<usize> = sizes.split('x').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let [rows, columns, k] = sizes[..] else { return None };
        Some(Self { stem, storage, role, rows, columns, k })
    }

    /// The defines of the kernel that does it in tiles of one kind.
    pub(super) fn defines(&self, tile: &Tile) -> Vec<&'static str> {
        self.storage.iter().chain(tile.defines).copied().chain(self.role).collect()
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stem, storage: [a, w], role, rows, columns, k } = self;
        write!(f, "{stem} {a} {w} {}", role.map_or(String::new(), |role| format!("{role} ")))?;
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

/// The ways to cut a product up on a device, those whose kernels have the workgroup memory they need. There is always
/// one, and no two have the same name.
pub fn candidates(caps: &Caps, product: &Product) -> Vec<Cut> {
    let tiles = tiles(caps, product.storage == ["A_F16", "W_F16"]);
    let fits = |tile: &Tile| {
        Variant::find(product.stem, &product.defines(tile))
            .is_some_and(|v| v.workgroup_bytes <= caps.workgroup_bytes)
    };
    let (last, others) = tiles.split_last().expect("a device has a tile for everything");
    let able = others.iter().filter(|tile| fits(tile)).chain([last]);
    able.map(|tile| Cut { tile, splits: 1 }).collect()
}

/// The cut of a product on a device.
pub fn cut(caps: &Caps, product: &Product) -> Cut {
    let all = candidates(caps, product);
    if let Some(at) = caps.only_cut {
        return all[at.min(all.len() - 1)];
    }
    // What is remembered may be of a tier that is not used today.
    match caps.tuned.get(product) {
        Some(tuned) if all.contains(tuned) => *tuned,
        _ => estimated(caps, product),
    }
}

/// The cut of a product by the table: the one that is through first, round after round of workgroups. That takes the
/// largest tile where there is work for it and smaller ones for the UNet's small levels (8x8 pixels are 128 rows).
pub fn estimated(caps: &Caps, product: &Product) -> Cut {
    let all = candidates(caps, product);
    let best = all.iter().copied().min_by(|a, b| time(caps, product, a).total_cmp(&time(caps, product, b)));
    best.expect("there is always one")
}

/// About how long a cut takes, in a unit that the cuts of one product share.
pub fn time(caps: &Caps, product: &Product, cut: &Cut) -> f64 {
    let tile = cut.tile;
    let groups = product.rows.div_ceil(tile.rows) * product.columns.div_ceil(tile.columns);
    (groups.div_ceil(caps.at_once) * tile.rows * tile.columns) as f64 / tile.pace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::Matrices;
    use std::sync::Arc;

    fn nvidia() -> Caps {
        Caps { f16: true, matrices: Some(Matrices::ALL[0]), workgroup_bytes: 48 << 10, ..Caps::default() }
    }

    fn conv(rows: usize, columns: usize) -> Product {
        Product { stem: "conv2d", storage: ["A_F16", "W_F16"], role: None, rows, columns, k: 9 * columns }
    }

    #[test]
    fn large_products_get_large_tiles_and_small_ones_many() {
        let name = |caps: &Caps, product: &Product| cut(caps, product).to_string();
        assert_eq!(name(&nvidia(), &conv(16384, 1280)), "coop 128x128");
        assert_eq!(
            name(&nvidia(), &conv(8192, 320)),
            "coop 128x64",
            "a third of a tile would be wasted at 128"
        );
        assert_eq!(name(&nvidia(), &conv(512, 1280)), "coop 128x64");
        assert_eq!(name(&nvidia(), &conv(128, 1280)), "coop 32x32");
        // A device that does less at a time has no use for small tiles so soon.
        let smaller = Caps { at_once: 40, ..nvidia() };
        assert_eq!(name(&smaller, &conv(512, 1280)), "coop 128x128");
        // What does not fit, or is not stored in halves, gets other tiles.
        let small = Caps { workgroup_bytes: 16 << 10, ..nvidia() };
        assert_eq!(name(&small, &conv(128, 128)), "plain 64x64");
        let floats = Product { storage: ["A_F32", "W_F32"], ..conv(8192, 320) };
        assert_eq!(name(&nvidia(), &floats), "plain 64x64");
        assert_eq!(name(&Caps { software: true, ..Caps::default() }, &floats), "rows 32x256");
    }

    #[test]
    fn what_is_forced_goes_before_what_was_measured_and_that_before_the_table() {
        let (caps, product) = (nvidia(), conv(8192, 320));
        let all = candidates(&caps, &product);
        assert!(all.len() > 3 && cut(&caps, &product) == all[1], "{all:?}");
        let tuned = Arc::new(Tuned::from([(product, all[2])]));
        let caps = Caps { tuned, ..caps };
        assert_eq!(cut(&caps, &product), all[2]);
        assert_eq!(cut(&caps, &conv(4096, 320)), estimated(&caps, &conv(4096, 320)), "another product");
        let forced = Caps { only_cut: Some(3), ..caps.clone() };
        assert_eq!(cut(&forced, &product), all[3]);
        let beyond = Caps { only_cut: Some(99), ..caps.clone() };
        assert_eq!(cut(&beyond, &product), *all.last().unwrap());
        // Of another tier.
        let plain = Caps { matrices: None, ..caps };
        assert_eq!(cut(&plain, &product).to_string(), "plain 64x64");
    }
}
