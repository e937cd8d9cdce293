use crate::values::Values;
use calotype_graph::ops::{Row, Shapes};

/// The current step's row of what was computed for all steps.
pub(super) fn run(op: &Row, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (x, row) = (values.get(op.x), values.step(op.table)?.row as usize);
    let x = x.read();
    let rows = values.shape(op.x).rows();
    let from = x.get(row * y.len()..(row + 1) * y.len());
    y.copy_from_slice(from.ok_or_else(|| format!("row {row} of {rows} was asked for"))?);
    Ok(())
}
