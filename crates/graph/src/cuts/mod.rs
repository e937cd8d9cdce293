//! How a product is cut up among workgroups, and who decides: whoever forces one, else what was measured on this
//! device, else an estimate by the table of tiles.

pub(crate) mod product;
pub(crate) mod tiles;

use crate::caps::Caps;
use calotype_shaders::Variant;
pub use product::{Cut, Product, Tuned};
pub use tiles::{Matrices, Tier, at_once};
use tiles::{Tile, tiles};

/// The ways to cut a product up on a device, those whose kernels have the workgroup memory they need. There is always
/// one, and no two have the same name. Those that leave k whole come first; the others have two slices, or as many as
/// the device has workgroups to spare (three at least), or half of that. The last has most slices of the largest tile.
pub fn candidates(caps: &Caps, product: &Product) -> Vec<Cut> {
    let halves = matches!(product.storage, ["A_F16", "W_N16" | "W_N8" | "W_N4"]);
    let tiles = tiles(caps.matrices, halves && product.whole, caps.software);
    let fits = |defines: &[&str]| {
        Variant::find(product.stem, defines).is_some_and(|v| v.workgroup_bytes <= caps.workgroup_bytes)
    };
    let (last, others) = tiles.split_last().expect("a device has a tile for everything");
    let able = others.iter().filter(|tile| fits(&product.whole(tile))).chain([last]);
    let mut all: Vec<Cut> = able.map(Cut::whole).collect();
    for tile in tiles.iter().rev().filter(|tile| fits(&product.split(tile))) {
        let most = (caps.at_once / groups(product, tile)).max(3);
        for splits in [2, most / 2, most] {
            let cut = Cut::split(tile, product.k, splits.max(2));
            let bound = |cut: &Cut| cut.scratch(product) <= Some(caps.max_binding.min(caps.max_buffer));
            all.extend(cut.filter(bound).filter(|cut| !all.contains(cut)));
        }
    }
    all
}

/// Tiles of a product.
fn groups(product: &Product, tile: &Tile) -> usize {
    product.rows.div_ceil(tile.rows) * product.columns.div_ceil(tile.columns)
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
        _ => estimated(caps, product, |cut| cut.splits == 1 || !caps.software),
    }
}

/// The cut of a product by the table, among those that are `allowed`: the one that is through first, round after round of
/// workgroups. That takes the largest tile where there is work for it, and smaller ones or slices of k for the UNet's
/// small levels (8x8 pixels are 128 rows). Shaders that run in software have workgroups enough for a processor's few
/// cores at every level, and k stays whole.
pub fn estimated(caps: &Caps, product: &Product, allowed: impl Fn(&Cut) -> bool) -> Cut {
    /// How much longer than estimated a split must be allowed to take: what gains less is not worth its launch.
    const DOUBT: f64 = 1.15;
    let time = |cut: &Cut| time(caps, product, cut) * if cut.splits > 1 { DOUBT } else { 1.0 };
    let all = candidates(caps, product).into_iter().filter(allowed);
    let best = all.min_by(|a, b| time(a).total_cmp(&time(b)));
    best.expect("one that leaves k whole is always there, and allowed")
}

/// About how long a cut takes, in multiply-adds of one workgroup at pace 1. Launches and memory are reckoned as on a large
/// GPU with tensor cores, of whose 200 TFLOP/s a workgroup has 0.75 million multiply-adds a µs; slower ones lose less by
/// a launch. Estimates: of them an H200 has shown paces of tiles and that a launch waits 2.2 to 2.6 µs (docs/gpus.md).
pub fn time(caps: &Caps, product: &Product, cut: &Cut) -> f64 {
    /// How much of k a workgroup could have summed while it begins and ends.
    const START: usize = 64;
    /// 3 µs: what a launch waits for the one before it.
    const LAUNCH: f64 = 2.3e6;
    /// 2 TB/s: the sums come from the cache, as a rule.
    const BYTE: f64 = 0.4;
    let Cut { tile, splits } = cut;
    let rounds = (groups(product, tile) * splits).div_ceil(caps.at_once);
    let sums = (rounds * tile.rows * tile.columns * (cut.slice(product.k) + START)) as f64 / tile.pace;
    // Written once and read once.
    sums + cut.scratch(product).map_or(0.0, |bytes| LAUNCH + 2.0 * BYTE * bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::product::SLICE;
    use super::*;
    use std::sync::Arc;

    fn nvidia() -> Caps {
        Caps { f16: true, matrices: Some(Matrices::ALL[0]), workgroup_bytes: 48 << 10, ..Caps::default() }
    }

    fn conv(rows: usize, columns: usize) -> Product {
        Product {
            stem: "conv2d",
            storage: ["A_F16", "W_N16"],
            role: None,
            rows,
            columns,
            k: 9 * columns,
            whole: true,
        }
    }

    fn name(caps: &Caps, product: &Product) -> String {
        cut(caps, product).to_string()
    }

    #[test]
    fn large_products_get_large_tiles_and_small_ones_many() {
        assert_eq!(name(&nvidia(), &conv(16384, 1280)), "coop 128x128");
        let third = "a third of a tile would be wasted at 128";
        assert_eq!(name(&nvidia(), &conv(8192, 320)), "coop 64x64", "{third}");
        let shallow = Product { k: 640, ..conv(512, 1280) };
        assert_eq!(name(&nvidia(), &shallow), "coop 128x64");
        assert_eq!(name(&nvidia(), &Product { k: 320, ..conv(128, 1280) }), "coop 32x32");
        // A device that does less at a time has no use for small tiles so soon.
        assert_eq!(name(&Caps { at_once: 40, ..nvidia() }, &shallow), "coop 128x128");
        // What does not fit, or is not stored in halves, gets other tiles.
        let small = Caps { workgroup_bytes: 8 << 10, ..nvidia() };
        assert_eq!(name(&small, &Product { k: 64, ..conv(128, 128) }), "plain 64x64");
        assert_eq!(name(&nvidia(), &Product { k: 36, whole: false, ..conv(8192, 320) }), "plain 64x64");
        let floats = Product { storage: ["A_F32", "W_F32"], ..conv(8192, 320) };
        assert_eq!(name(&nvidia(), &floats), "plain 64x64");
        assert_eq!(name(&Caps { software: true, ..Caps::default() }, &floats), "rows 32x256");
    }

    #[test]
    fn deep_products_of_few_results_are_split() {
        assert_eq!(name(&nvidia(), &conv(128, 1280)), "coop 64x64 k/3");
        assert_eq!(name(&nvidia(), &Product { k: 23040, ..conv(512, 1280) }), "coop 128x128 k/3");
        let packed = Product { storage: ["A_H16", "W_H16"], ..conv(128, 1280) };
        assert_eq!(name(&Caps::default(), &packed), "plain 64x64 k/3");
        assert_eq!(name(&Caps { software: true, ..Caps::default() }, &packed), "rows 32x256");
        // Rows are normalised as they are read: not once a slice.
        let normed = Product { stem: "matmul", role: Some("NORM"), ..conv(128, 1280) };
        assert_eq!(name(&nvidia(), &normed), "coop 32x32");
    }

    #[test]
    fn slices_make_up_k() {
        for (caps, product) in [
            (nvidia(), conv(128, 1280)),
            (nvidia(), Product { k: 200, ..conv(150, 136) }),
            (Caps::default(), Product { k: 324, ..conv(81, 72) }),
            (Caps::default(), Product { k: 129, ..conv(1, 4) }),
        ] {
            let all = candidates(&caps, &product);
            assert!(all.iter().any(|cut| cut.splits > 1), "{product}");
            for cut in all {
                let slice = cut.slice(product.k);
                assert_eq!(product.k.div_ceil(slice), cut.splits, "{product}, {cut}");
                assert!(slice.is_multiple_of(SLICE));
            }
        }
        // What tests force.
        for matrices in Matrices::ALL {
            let caps = Caps { matrices: Some(matrices), ..nvidia() };
            let last = *candidates(&caps, &conv(81, 72)).last().unwrap();
            assert!(last.splits > 2 && last.tile.defines.contains(&"COOP"), "{matrices}: {last}");
        }
        let shallow = candidates(&nvidia(), &Product { k: 64, ..conv(128, 128) });
        assert!(shallow.iter().all(|cut| cut.splits == 1));
    }

    #[test]
    fn what_is_forced_goes_before_what_was_measured_and_that_before_the_table() {
        let (caps, product) = (nvidia(), conv(8192, 320));
        let all = candidates(&caps, &product);
        assert!(all.len() > 3 && cut(&caps, &product) == all[2], "{all:?}");
        let tuned = Arc::new(Tuned::from([(product, all[1])]));
        let caps = Caps { tuned, ..caps };
        assert_eq!(cut(&caps, &product), all[1]);
        assert_eq!(
            cut(&caps, &conv(4096, 320)),
            estimated(&caps, &conv(4096, 320), |_| true),
            "another product"
        );
        let forced = Caps { only_cut: Some(3), ..caps.clone() };
        assert_eq!(cut(&forced, &product), all[3]);
        let beyond = Caps { only_cut: Some(99), ..caps.clone() };
        assert_eq!(cut(&beyond, &product), *all.last().unwrap());
        // Of another tier.
        let plain = Caps { matrices: None, ..caps };
        assert_eq!(cut(&plain, &product).to_string(), "plain 64x64");
    }
}
