//! The launches of a product in tiles: one, or one that sums slices of k and one that adds them up.

use super::Context;
use crate::cuts::product::{Cut, Product};
use crate::error::Error;
use crate::recording::Binding;

/// One half of a product: its operands, or what becomes of its sums.
pub(crate) struct Half {
    /// In the order of the kernel's bindings.
    pub bindings: Vec<Binding>,
    /// The switches that it reads.
    pub overrides: Vec<(&'static str, f64)>,
}

/// Launches `rows` rows of a product. `params` says in `k_slice` what [`Cut::slice`] does.
pub(crate) fn launch<P: bytemuck::Pod>(
    cx: &mut Context<'_>,
    (product, cut): (&Product, &Cut),
    rows: usize,
    params: P,
    [operands, results]: [Half; 2],
) -> Result<(), Error> {
    let columns = product.columns;
    let tile = [columns.div_ceil(cut.tile.columns), rows.div_ceil(cut.tile.rows), cut.splits];
    let groups = tile.map(|count| count as u32);
    if cut.splits == 1 {
        let variant = cx.variant(product.stem, &product.whole(cut.tile))?;
        let overrides = [operands.overrides, results.overrides].concat();
        let bindings = [operands.bindings, results.bindings].concat();
        cx.dispatch(variant, &overrides, params, bindings, groups);
        return Ok(());
    }
    let sums = vec![cx.scratch(0)];
    let split = cx.variant(product.stem, &product.split(cut.tile))?;
    let bindings = [operands.bindings, sums.clone()].concat();
    cx.dispatch(split, &operands.overrides, params, bindings, groups);
    let join = cx.variant(product.stem, &product.join())?;
    let bindings = [sums, results.bindings].concat();
    // Eight columns a thread.
    let groups = cx.flat(rows * columns.div_ceil(8));
    cx.dispatch(join, &results.overrides, params, bindings, groups);
    Ok(())
}
