use crate::values::Values;
use calotype_graph::ops::{Shapes, Upsample};
use rayon::prelude::*;

/// Nearest neighbour: output pixel i takes input pixel floor(i · in / out), as PyTorch's
/// `interpolate(mode="nearest")` does.
pub(super) fn run(op: &Upsample, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (x, shape) = (values.get(op.x), values.shape(op.x));
    let x = &x.read()[..];
    let (height, width, channels) = (shape.dims()[1], shape.dims()[2], shape.channels());
    let [out_height, out_width] = op.size;
    if y.is_empty() {
        return Ok(());
    }
    y.par_chunks_mut(out_width * channels).enumerate().for_each(|(row, y)| {
        let (image, oy) = (row / out_height, row % out_height);
        let from = (image * height + oy * height / out_height) * width;
        for (ox, y) in y.chunks_exact_mut(channels).enumerate() {
            y.copy_from_slice(&x[(from + ox * width / out_width) * channels..][..channels]);
        }
    });
    Ok(())
}
