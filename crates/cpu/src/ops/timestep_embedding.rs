use crate::program::Values;
use calotype_graph::ops::TimestepEmbedding;

/// Sines and cosines of the step's time. The angle is an f32 product, as PyTorch has it; its sine is then exact
/// to the last bit.
pub(super) fn run(op: &TimestepEmbedding, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let time = values.step(op.table)?.timestep;
    let frequencies = values.get(op.frequencies);
    let frequencies = frequencies.read();
    let (first, second) = y.split_at_mut(frequencies.len());
    let (sines, cosines) = if op.cosine_first { (second, first) } else { (first, second) };
    for ((sine, cosine), frequency) in sines.iter_mut().zip(cosines).zip(frequencies.iter()) {
        let angle = f64::from(time * frequency);
        *sine = angle.sin() as f32;
        *cosine = angle.cos() as f32;
    }
    Ok(())
}
