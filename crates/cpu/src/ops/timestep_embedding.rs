use crate::values::Values;
use calotype_graph::ops::{StepRow, TimestepEmbedding};

/// Sines and cosines of each step's time. The angle is an f32 product, as PyTorch has it; its sine is then exact
/// to the last bit.
pub(super) fn run(op: &TimestepEmbedding, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (table, frequencies) = (values.get(op.table), values.get(op.frequencies));
    let (table, frequencies) = (table.read(), frequencies.read());
    if frequencies.is_empty() {
        return Ok(());
    }
    for (y, step) in y.chunks_exact_mut(2 * frequencies.len()).zip(table.chunks_exact(StepRow::WORDS)) {
        let time = step[StepRow::TIMESTEP];
        let (first, second) = y.split_at_mut(frequencies.len());
        let (sines, cosines) = if op.cosine_first { (second, first) } else { (first, second) };
        for ((sine, cosine), frequency) in sines.iter_mut().zip(cosines).zip(frequencies.iter()) {
            let angle = f64::from(time * frequency);
            *sine = angle.sin() as f32;
            *cosine = angle.cos() as f32;
        }
    }
    Ok(())
}
