//! How products and convolutions are cut up on a device: tiers of kernels, and which tile serves which shape. What ships
//! here are data; `shaders/shared/gemm*.wgsl` are what the numbers mean.

use super::Caps;
use calotype_shaders::Variant;
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
pub(super) struct Tile {
    /// Beyond those of storage.
    pub defines: &'static [&'static str],
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Results a workgroup gets done in a given time, compared with other tiles of the device. Larger tiles fetch each
    /// number less often. Estimates, until they are measured where such a device is at hand.
    pace: f64,
}

/// For GPUs without matrices.
const PLAIN: Tile = Tile { defines: &[], rows: 64, columns: 64, pace: 1.0 };
/// For processors that run shaders in software.
const ROWS: Tile = Tile { defines: &["ROWS"], rows: 32, columns: 256, pace: 1.0 };

macro_rules! coop {
    ($rows:literal x $columns:literal, pace $pace:literal: $($define:literal)*) => {
        Tile { defines: &["COOP", $($define),*], rows: $rows, columns: $columns, pace: $pace }
    };
}

/// The tiles of [`Matrices::ALL`], in that order.
const COOP: [&[Tile]; 4] = [
    &[
        coop!(128 x 128, pace 1.0: "SIDE=16" "LANES=32" "FM=4" "FN=2" "FK=2" "WM=2" "WN=4" "WL=4"),
        coop!(128 x 64, pace 0.85: "SIDE=16" "LANES=32" "FM=2" "FN=2" "FK=2" "WM=4" "WN=2" "WL=2"),
        coop!(64 x 64, pace 0.7: "SIDE=16" "LANES=32" "FM=2" "FN=2" "FK=2" "WM=2" "WN=2" "WL=4"),
        coop!(32 x 32, pace 0.4: "SIDE=16" "LANES=32" "FM=1" "FN=1" "FK=4" "WM=2" "WN=2" "WL=4"),
    ],
    &[
        coop!(128 x 128, pace 1.0: "SIDE=16" "LANES=64" "FM=4" "FN=4" "FK=2" "WM=2" "WN=2" "WL=4"),
        coop!(64 x 64, pace 0.7: "SIDE=16" "LANES=64" "FM=2" "FN=4" "FK=2" "WM=2" "WN=1" "WL=4"),
    ],
    &[coop!(32 x 32, pace 1.0: "SIDE=8" "LANES=8" "FM=1" "FN=2" "FK=4" "WM=4" "WN=2" "WL=4")],
    &[coop!(64 x 64, pace 1.0: "SIDE=8" "LANES=32" "FM=4" "FN=4" "FK=4" "WM=2" "WN=2" "WL=4" "SCALAR")],
];

/// Workgroups that a GPU with tensor cores works on at a time: about its processors (132 on an H200, 128 on an RTX 4090).
const AT_ONCE: usize = 128;

impl Matrices {
    fn tile_list(self) -> &'static [Tile] {
        Self::ALL.iter().position(|m| *m == self).map_or(&[], |at| COOP[at])
    }

    /// How many tiles there are for it: what [`Caps::only_tile`] counts.
    pub fn tiles(self) -> usize {
        self.tile_list().len()
    }
}

/// The tile for a product of `rows` by `columns` whose operands are stored as the defines `a` and `w` say, and which
/// does what `role` says besides: of those that the device has the workgroup memory for, the one that is through first,
/// round after round of workgroups. That takes the largest where there is work for it and smaller ones for the UNet's
/// small levels (8x8 pixels are 128 rows), where they stand in for splitting k: 4 % of Stable Diffusion 1.5's arithmetic.
pub(super) fn tile(
    caps: &Caps,
    stem: &str,
    [a, w]: [&str; 2],
    role: &[&str],
    rows: usize,
    columns: usize,
) -> &'static Tile {
    let halves = (a, w) == ("A_F16", "W_F16");
    let tiles = caps.matrices.filter(|_| halves).map_or(&[][..], Matrices::tile_list);
    let fits = |tile: &Tile| {
        let defines: Vec<&str> = [a, w].iter().chain(tile.defines).chain(role).copied().collect();
        Variant::find(stem, &defines).is_some_and(|v| v.workgroup_bytes <= caps.workgroup_bytes)
    };
    let time = |tile: &Tile| {
        let count = rows.div_ceil(tile.rows) * columns.div_ceil(tile.columns);
        (count.div_ceil(AT_ONCE) * tile.rows * tile.columns) as f64 / tile.pace
    };
    let allowed = |at: usize| caps.only_tile.is_none_or(|only| only == at);
    let able = tiles.iter().enumerate().filter(|(at, tile)| allowed(*at) && fits(tile)).map(|(_, tile)| tile);
    match able.min_by(|a, b| time(a).total_cmp(&time(b))) {
        Some(tile) => tile,
        None if caps.software => &ROWS,
        None => &PLAIN,
    }
}

/// What kernels that sum over a workgroup are defined by, besides their storage.
pub(super) fn sums(caps: &Caps) -> &'static [&'static str] {
    if caps.subgroups { &["SUBGROUPS"] } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_what_their_defines_make_them() {
        for tiles in COOP {
            for tile in tiles {
                let value = |name: &str| -> usize {
                    let define = tile.defines.iter().find_map(|d| d.strip_prefix(name)?.strip_prefix('='));
                    define.expect(name).parse().expect(name)
                };
                assert_eq!(tile.rows, value("WM") * value("FM") * value("SIDE"), "{tile:?}");
                assert_eq!(tile.columns, value("WN") * value("FN") * value("SIDE"), "{tile:?}");
                for stem in ["matmul", "conv2d"] {
                    let defines = [&["A_F16", "W_F16"], tile.defines].concat();
                    let variant = Variant::find(stem, &defines).expect(stem);
                    let threads = value("WM") * value("WN") * value("LANES");
                    assert_eq!(variant.workgroup_size, [threads as u32, 1, 1], "{tile:?}");
                    assert!(variant.workgroup_bytes <= 48 << 10, "{tile:?}: {}", variant.workgroup_bytes);
                }
            }
        }
    }

    #[test]
    fn large_products_get_large_tiles_and_small_ones_many() {
        let nvidia = Caps { matrices: Some(Matrices::ALL[0]), workgroup_bytes: 48 << 10, ..Caps::default() };
        let size = |rows, columns| {
            let tile = tile(&nvidia, "conv2d", ["A_F16", "W_F16"], &[], rows, columns);
            (tile.rows, tile.columns)
        };
        assert_eq!(size(16384, 1280), (128, 128));
        assert_eq!(size(8192, 320), (128, 64), "a third of a tile would be wasted at 128");
        assert_eq!(size(512, 1280), (128, 64));
        assert_eq!(size(128, 1280), (32, 32));
        // What does not fit, or is not stored in halves, gets other tiles.
        let small = Caps { workgroup_bytes: 16 << 10, ..nvidia.clone() };
        assert_eq!(tile(&small, "conv2d", ["A_F16", "W_F16"], &[], 128, 128), &PLAIN);
        assert_eq!(tile(&nvidia, "conv2d", ["A_F32", "W_F32"], &[], 8192, 320), &PLAIN);
    }
}
