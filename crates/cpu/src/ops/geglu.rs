use super::activation;
use crate::values::Values;
use calotype_graph::ops::{Geglu, Shapes};
use rayon::prelude::*;

/// The first half of the channels times the activation of the second.
pub(super) fn run(op: &Geglu, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (x, width) = (values.get(op.x), values.shape(op.x).channels() / 2);
    if width == 0 {
        return Ok(());
    }
    y.par_chunks_mut(width).zip(x.read().par_chunks(2 * width)).for_each(|(y, x)| {
        let (value, gate) = x.split_at(width);
        y.copy_from_slice(gate);
        activation::apply(op.activation, y);
        y.iter_mut().zip(value).for_each(|(y, v)| *y *= v);
    });
    Ok(())
}
