use crate::values::Values;
use calotype_graph::ops::FromLatents;

/// Latents to a model's input: scaled and shifted, once for each guidance half.
pub(super) fn run(op: &FromLatents, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let count = op.shape.numel();
    if count == 0 {
        return Ok(());
    }
    let latents = values.get(op.latents);
    let latents = &latents.read()[op.from..][..count];
    for y in y.chunks_exact_mut(count) {
        y.iter_mut().zip(latents).for_each(|(y, x)| *y = x * op.scale + op.shift);
    }
    Ok(())
}
