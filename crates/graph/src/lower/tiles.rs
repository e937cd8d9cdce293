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
#[derive(Debug, PartialEq, Eq)]
pub struct Tile {
    /// Beyond those of storage.
    pub defines: &'static [&'static str],
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
}

/// For GPUs without matrices.
const PLAIN: Tile = Tile { defines: &[], rows: 64, columns: 64 };
/// For processors that run shaders in software.
const ROWS: Tile = Tile { defines: &["ROWS"], rows: 32, columns: 256 };

/// The tiles of each kind of matrices, largest first.
const COOP: &[(Matrices, &[Tile])] = &[
    (
        Matrices::ALL[0],
        &[
            Tile {
                defines: &["COOP", "SIDE=16", "LANES=32", "FM=4", "FN=2", "FK=2", "WM=2", "WN=4", "WL=4"],
                rows: 128,
                columns: 128,
            },
            Tile {
                defines: &["COOP", "SIDE=16", "LANES=32", "FM=2", "FN=2", "FK=2", "WM=4", "WN=2", "WL=2"],
                rows: 128,
                columns: 64,
            },
            Tile {
                defines: &["COOP", "SIDE=16", "LANES=32", "FM=2", "FN=2", "FK=2", "WM=2", "WN=2", "WL=4"],
                rows: 64,
                columns: 64,
            },
        ],
    ),
    (
        Matrices::ALL[1],
        &[
            Tile {
                defines: &["COOP", "SIDE=16", "LANES=64", "FM=4", "FN=4", "FK=2", "WM=2", "WN=2", "WL=4"],
                rows: 128,
                columns: 128,
            },
            Tile {
                defines: &["COOP", "SIDE=16", "LANES=64", "FM=2", "FN=4", "FK=2", "WM=2", "WN=1", "WL=4"],
                rows: 64,
                columns: 64,
            },
        ],
    ),
    (
        Matrices::ALL[2],
        &[Tile {
            defines: &["COOP", "SIDE=8", "LANES=8", "FM=2", "FN=2", "FK=4", "WM=4", "WN=4", "WL=4"],
            rows: 64,
            columns: 64,
        }],
    ),
    (
        Matrices::ALL[3],
        &[Tile {
            defines: &["COOP", "SIDE=8", "LANES=32", "FM=4", "FN=4", "FK=4", "WM=2", "WN=2", "WL=4", "SCALAR"],
            rows: 64,
            columns: 64,
        }],
    ),
];

/// Tiles that a GPU with tensor cores should be given at least, so that none of its processors idles (132 on an H200,
/// 128 on an RTX 4090): with fewer, smaller tiles are better although each number is then fetched more often.
const ENOUGH: usize = 128;

/// The tile for a product of `rows` by `columns` whose operands are stored as the defines `a` and `w` say.
pub(super) fn tile(caps: &Caps, stem: &str, a: &str, w: &str, rows: usize, columns: usize) -> &'static Tile {
    let fits = |tile: &&Tile| {
        let defines: Vec<&str> = [a, w].iter().chain(tile.defines).copied().collect();
        Variant::find(stem, &defines).is_some_and(|v| v.workgroup_bytes <= caps.workgroup_bytes)
    };
    let kind = COOP.iter().find(|(kind, _)| Some(*kind) == caps.matrices && (a, w) == ("A_F16", "W_F16"));
    let tiles: Vec<&Tile> = kind.map_or(&[][..], |(_, tiles)| tiles).iter().filter(fits).collect();
    let count = |tile: &Tile| rows.div_ceil(tile.rows) * columns.div_ceil(tile.columns);
    match tiles.iter().find(|tile| count(tile) >= ENOUGH).or(tiles.last()) {
        Some(tile) => tile,
        None if caps.software => &ROWS,
        None => &PLAIN,
    }
}
