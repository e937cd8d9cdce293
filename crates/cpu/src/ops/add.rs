use super::GRAIN;
use crate::values::Values;
use calotype_graph::ops::{Add, Shapes};
use rayon::prelude::*;

/// `a + b`, where b has a's shape or is one row of channels for each image (or for all).
pub(super) fn run(op: &Add, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (a, b) = (values.get(op.a), values.get(op.b));
    let (a, b) = (&a.read()[..], &b.read()[..]);
    let (a_shape, b_shape) = (values.shape(op.a), values.shape(op.b));
    if a_shape == b_shape {
        let parts = y.par_chunks_mut(GRAIN).zip(a.par_chunks(GRAIN)).zip(b.par_chunks(GRAIN));
        parts.for_each(|((y, a), b)| add(y, a, b));
        return Ok(());
    }
    let width = a_shape.channels();
    let rows_of_an_image = a_shape.rows() / a_shape.dims()[0].max(1);
    if y.is_empty() {
        return Ok(());
    }
    y.par_chunks_mut(width).zip(a.par_chunks(width)).enumerate().for_each(|(row, (y, a))| {
        let b_row = if b_shape.rows() == 1 { 0 } else { row / rows_of_an_image };
        add(y, a, &b[b_row * width..][..width]);
    });
    Ok(())
}

fn add(y: &mut [f32], a: &[f32], b: &[f32]) {
    y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a + b);
}
