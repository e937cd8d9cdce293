use super::GRAIN;
use crate::values::Values;
use calotype_graph::ops::Scale;
use rayon::prelude::*;

/// `x · scale + shift`.
pub(super) fn run(op: &Scale, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let x = values.get(op.x);
    y.par_chunks_mut(GRAIN).zip(x.read().par_chunks(GRAIN)).for_each(|(y, x)| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x * op.scale + op.shift);
    });
    Ok(())
}
