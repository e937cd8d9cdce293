use super::activation;
use crate::values::Values;
use calotype_graph::ops::{Affine, Shapes};
use rayon::prelude::*;

/// `x · scale + shift` with the scales and shifts of a row's image, then an activation.
pub(super) fn run(op: &Affine, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (x, terms) = (values.get(op.x), values.get(op.terms));
    let (x, terms) = (&x.read()[..], &terms.read()[..]);
    let shape = values.shape(op.x);
    if y.is_empty() {
        return Ok(());
    }
    let channels = shape.channels();
    let image = y.len() / shape.dims()[0];
    let images = y.par_chunks_mut(image).zip(x.par_chunks(image)).zip(terms.par_chunks(2 * channels));
    images.for_each(|((y, x), terms)| {
        let (scales, shifts) = terms.split_at(channels);
        y.par_chunks_mut(channels).zip(x.par_chunks(channels)).for_each(|(y, x)| {
            let terms = scales.iter().zip(shifts);
            y.iter_mut().zip(x).zip(terms).for_each(|((y, x), (scale, shift))| *y = x * scale + shift);
            activation::apply(op.activation, y);
        });
    });
    Ok(())
}
