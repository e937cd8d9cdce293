//! Weights on text states: A1111's multiply and put the mean back (stable-diffusion-webui 1.10, modules/sd_emphasis.py),
//! ComfyUI's reach from the empty prompt (comfy/sd1_clip.py `encode_token_weights`).

use super::Emphasis;

/// The states of a chunk, `[T, C]`, and each token's weight.
pub struct Weighing<'a> {
    /// Changed.
    pub states: &'a mut [f32],
    /// T of them.
    pub weights: &'a [f32],
    /// How many times the chunk is met: A1111 encodes the texts of all turns at once, and takes their mean.
    pub times: usize,
}

/// A1111's way, for the same chunk of all texts that a prompt is in its turns.
pub fn emphasize(chunks: &mut [Weighing<'_>], mode: Emphasis) {
    let weighted = chunks.iter().any(|chunk| chunk.weights.iter().any(|weight| *weight != 1.0));
    if !weighted || matches!(mode, Emphasis::Ignore | Emphasis::None) {
        return;
    }
    let before = mean(chunks);
    for chunk in chunks.iter_mut() {
        let width = chunk.states.len() / chunk.weights.len();
        for (row, weight) in chunk.states.chunks_exact_mut(width).zip(chunk.weights) {
            row.iter_mut().for_each(|value| *value *= weight);
        }
    }
    if mode == Emphasis::Original {
        let factor = (before / mean(chunks)) as f32;
        chunks.iter_mut().flat_map(|chunk| chunk.states.iter_mut()).for_each(|value| *value *= factor);
    }
}

fn mean(chunks: &[Weighing<'_>]) -> f64 {
    let sum = |chunk: &Weighing<'_>| chunk.states.iter().map(|v| f64::from(*v)).sum::<f64>();
    let (sums, count) = chunks.iter().fold((0.0, 0), |(sums, count), chunk| {
        (sums + sum(chunk) * chunk.times as f64, count + chunk.states.len() * chunk.times)
    });
    sums / count as f64
}

/// ComfyUI's way: `empty` are the empty prompt's states, `[T, C]`.
pub fn from_empty(states: &mut [f32], weights: &[f32], empty: &[f32]) {
    let width = states.len() / weights.len();
    let rows = states.chunks_exact_mut(width).zip(empty.chunks_exact(width));
    for ((row, empty), weight) in rows.zip(weights).filter(|(_, weight)| **weight != 1.0) {
        row.iter_mut().zip(empty).for_each(|(value, empty)| *value = (*value - empty) * weight + empty);
    }
}
