//! What products and convolutions can be cut into: tiers of kernels, matrices of devices, tiles. All data;
//! `shaders/shared/gemm*.wgsl` are what the numbers mean, and `cuts` chooses among them.

use std::fmt;

/// Groups of kernels, each with more of the device than the one before. `calotype-gpu` proves each on the adapter
/// before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What every WebGPU device has; halves are packed in pairs.
    Plain,
    /// Halves as numbers of their own (shader-f16).
    F16,
    /// Also sums across subgroups.
    Subgroups,
    /// Also cooperative matrices of f16 with f32 sums: tensor cores.
    Coop,
}

impl Tier {
    /// All of them, lowest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::F16, Self::Subgroups, Self::Coop];
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::F16 => "f16",
            Self::Subgroups => "subgroups",
            Self::Coop => "coop",
        })
    }
}

/// The cooperative matrices of a device that the kernels know how to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrices {
    /// Rows and columns of a matrix: f16 times f16, summed in f32.
    pub side: u32,
    /// Threads of a subgroup, which hold one together.
    pub lanes: u32,
    /// Whether matrices are loaded from scalars only (Metal).
    pub scalar: bool,
}

impl Matrices {
    /// Every kind there are kernels for, best first; of two kinds that differ in lanes only, the one that stays within
    /// its workgroup's memory where the device's subgroups turn out to be larger comes first.
    pub const ALL: [Self; 4] = [
        Self { side: 16, lanes: 32, scalar: false },
        Self { side: 16, lanes: 64, scalar: false },
        Self { side: 8, lanes: 8, scalar: false },
        Self { side: 8, lanes: 32, scalar: true },
    ];
}

impl fmt::Display for Matrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, lanes, .. } = self;
        write!(f, "{side}x{side}x{side} f16→f32 in subgroups of {lanes}")
    }
}

/// A tile: the defines that make it, and the part of the result that a workgroup computes.
#[derive(Debug, PartialEq)]
pub(crate) struct Tile {
    /// Beyond those of storage.
    pub defines: &'static [&'static str],
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Results a workgroup gets done in a given time, compared with other tiles of the device. Larger tiles fetch each
    /// number less often. Estimates, which tuning replaces by what it measures.
    pub pace: f64,
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.defines.first().map_or("plain".into(), |define| define.to_lowercase());
        write!(f, "{kind} {}x{}", self.rows, self.columns)
    }
}

/// For GPUs, with and without matrices.
const PLAIN: Tile = plain(1.0);
const fn plain(pace: f64) -> Tile {
    Tile { defines: &[], rows: 64, columns: 64, pace }
}

/// For processors that run shaders in software.
const ROWS: Tile = Tile { defines: &["ROWS"], rows: 32, columns: 256, pace: 1.0 };

macro_rules! coop {
    ($rows:literal x $columns:literal, pace $pace:literal: $($define:literal)*) => {
        Tile { defines: &["COOP", $($define),*], rows: $rows, columns: $columns, pace: $pace }
    };
}

/// The tiles of [`Matrices::ALL`], in that order; last the one that does without matrices, at the pace that a device's
/// ordinary arithmetic has beside its matrices: through Vulkan an H200's did five times as much (docs/gpus.md), AMD's do
/// twice as much, and Apple's matrices share the arithmetic of everything else.
const COOP: [&[Tile]; 4] = [
    &[
        coop!(128 x 128, pace 1.0: "SIDE=16" "LANES=32" "FM=4" "FN=2" "FK=4" "WM=2" "WN=4" "XL=4" "WL=4" "HALVES=1"),
        coop!(128 x 64, pace 0.75: "SIDE=16" "LANES=32" "FM=2" "FN=2" "FK=4" "WM=4" "WN=2" "XL=4" "WL=2" "HALVES=1"),
        coop!(64 x 64, pace 0.75: "SIDE=16" "LANES=32" "FM=2" "FN=2" "FK=4" "WM=2" "WN=2" "XL=4" "WL=4" "HALVES=1"),
        coop!(32 x 32, pace 0.45: "SIDE=16" "LANES=32" "FM=1" "FN=1" "FK=4" "WM=2" "WN=2" "XL=2" "WL=2" "HALVES=1"),
        plain(0.2),
    ],
    &[
        coop!(128 x 128, pace 1.0: "SIDE=16" "LANES=64" "FM=4" "FN=4" "FK=2" "WM=2" "WN=2" "XL=2" "WL=2" "HALVES=2"),
        coop!(128 x 64, pace 0.85: "SIDE=16" "LANES=64" "FM=4" "FN=2" "FK=2" "WM=2" "WN=2" "XL=2" "WL=1" "HALVES=2"),
        coop!(64 x 64, pace 0.7: "SIDE=16" "LANES=64" "FM=2" "FN=4" "FK=2" "WM=2" "WN=1" "XL=2" "WL=2" "HALVES=2"),
        coop!(32 x 32, pace 0.4: "SIDE=16" "LANES=64" "FM=1" "FN=2" "FK=4" "WM=2" "WN=1" "XL=2" "WL=2" "HALVES=2"),
        plain(0.4),
    ],
    &[
        coop!(32 x 32, pace 1.0: "SIDE=8" "LANES=8" "FM=1" "FN=2" "FK=4" "WM=4" "WN=2" "XL=2" "WL=2" "HALVES=2"),
        plain(0.8),
    ],
    &[
        coop!(64 x 64, pace 1.0: "SIDE=8" "LANES=32" "FM=4" "FN=4" "FK=4" "WM=2" "WN=2" "XL=2" "WL=2" "HALVES=2" "SCALAR"),
        plain(0.7),
    ],
];

/// The tiles of a device with such matrices, or one that runs shaders in software, for products whose operands are halves
/// (or become such as they are read), or for others: largest first.
pub(super) fn tiles(matrices: Option<Matrices>, halves: bool, software: bool) -> &'static [Tile] {
    let of = |matrices| Matrices::ALL.iter().position(|m| *m == matrices).map_or(&[][..], |at| COOP[at]);
    match matrices.filter(|_| halves).map(of) {
        Some(tiles) if !tiles.is_empty() => tiles,
        _ if software => &[ROWS],
        _ => &[PLAIN],
    }
}

/// About how many workgroups of a product a GPU works on at a time: its processors, of a large card where there are
/// several kinds. `vendor` is the PCI id of who made it, `own_memory` whether it is a card and no part of a processor.
/// Estimates: what they are off by shows in which tile small products get, until tuning has measured it.
pub fn at_once(vendor: u32, own_memory: bool) -> usize {
    match (vendor, own_memory) {
        (0x10de, _) => 128,   // NVIDIA: 128 on an RTX 4090, 132 on an H200
        (0x1002, true) => 96, // AMD: 96 on an RX 7900 XTX
        (0x8086, true) => 32, // Intel: 32 on an Arc A770
        (0x106b, _) => 32,    // Apple: 8 on an M1, 40 on an M4 Max
        (_, false) => 16,
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuts::product::SLICE;
    use calotype_shaders::{VARIANTS, Variant};
    use std::collections::HashSet;

    #[test]
    fn tiles_are_what_their_defines_make_them() {
        for tiles in COOP {
            let names: HashSet<String> = tiles.iter().map(Tile::to_string).collect();
            assert_eq!(names.len(), tiles.len(), "tiles are remembered by these names: {names:?}");
            let (plain, tiles) = tiles.split_last().unwrap();
            assert_eq!(
                (plain.defines, plain.rows, plain.columns),
                (PLAIN.defines, PLAIN.rows, PLAIN.columns)
            );
            for tile in tiles {
                let value = |name: &str| -> usize {
                    let define = tile.defines.iter().find_map(|d| d.strip_prefix(name)?.strip_prefix('='));
                    define.expect(name).parse().expect(name)
                };
                assert_eq!(tile.rows, value("WM") * value("FM") * value("SIDE"), "{tile:?}");
                assert_eq!(tile.columns, value("WN") * value("FN") * value("SIDE"), "{tile:?}");
                assert!(SLICE.is_multiple_of(value("FK") * value("SIDE")), "{tile:?}");
                let stored = ["W_N16", "W_N8", "W_N4"];
                for (stem, stored) in ["matmul", "conv2d"].iter().flat_map(|s| stored.map(|w| (*s, w))) {
                    let defines = [&["A_F16", stored], tile.defines].concat();
                    let variant = Variant::find(stem, &defines).expect(stem);
                    let threads = value("WM") * value("WN") * value("LANES");
                    assert_eq!(variant.workgroup_size, [threads as u32, 1, 1], "{tile:?}");
                    // NVIDIA's processors have no more, whatever the kernel does besides.
                    let roles = VARIANTS
                        .iter()
                        .filter(|v| v.stem == stem)
                        .filter(|v| defines.iter().all(|d| v.defines.contains(d)));
                    let largest = roles.map(|v| v.workgroup_bytes).max();
                    assert!(largest.is_some_and(|bytes| bytes <= 48 << 10), "{stem} {tile:?}: {largest:?}");
                }
            }
        }
    }
}
