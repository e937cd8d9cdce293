use crate::values::{Numbers, Values};
use calotype_graph::ValueId;
use calotype_graph::ops::{Concat, Shapes};
use rayon::prelude::*;

/// a's channels followed by b's, row by row.
pub(super) fn run(op: &Concat, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (a, b) = (values.get(op.a), values.get(op.b));
    let (a, b) = (a.read(), b.read());
    join(&a, &b, [op.a, op.b].map(|v| values.shape(v).channels()), y);
    Ok(())
}

fn join(a: &[f32], b: &[f32], [a_width, b_width]: [usize; 2], y: &mut [f32]) {
    if a_width + b_width == 0 {
        return;
    }
    y.par_chunks_mut(a_width + b_width).enumerate().for_each(|(row, y)| {
        let (first, second) = y.split_at_mut(a_width);
        first.copy_from_slice(&a[row * a_width..][..a_width]);
        second.copy_from_slice(&b[row * b_width..][..b_width]);
    });
}

/// Numbers of scratch that [`joined`] takes.
pub(super) fn scratch(x: ValueId, beside: Option<ValueId>, shapes: &dyn Shapes) -> Option<usize> {
    beside.map(|beside| shapes.shape(x).numel() + shapes.shape(beside).numel())
}

/// A value as it lies, or two put together.
pub(super) fn joined<'a>(
    values: &Values<'a>,
    x: ValueId,
    beside: Option<ValueId>,
) -> Result<Numbers<'a>, String> {
    let a = values.get(x).read();
    let (Some(beside), Some(both)) = (beside, scratch(x, beside, values)) else { return Ok(a) };
    let both = values.scratch(both)?;
    join(&a, &values.get(beside).read(), [x, beside].map(|v| values.shape(v).channels()), both);
    Ok(Numbers::Slice(both))
}
