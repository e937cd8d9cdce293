//! Weights as ops see them, from a checkpoint's tensors.

use calotype_graph::{Layout, Quant, Weight};
use calotype_tensor::{Encoding, blocks};

/// A checkpoint's tensor as the ops see it.
pub fn seen(own: &[f64], from: &[usize], weight: &Weight, to: &[usize]) -> Vec<f64> {
    let mut seen = vec![0.0; to.iter().product()];
    let half = from[0] / 2;
    // Where column n lies: of every eight, four values and their four gates.
    let place = |n: usize| if weight.gated { n % half / 4 * 8 + n / half * 4 + n % 4 } else { n };
    match weight.layout {
        Layout::Vector if weight.gated => own.iter().enumerate().for_each(|(n, v)| seen[place(n)] = *v),
        Layout::Vector | Layout::Table => seen[..own.len()].copy_from_slice(own),
        Layout::Matrix => (0..from[0])
            .for_each(|n| (0..from[1]).for_each(|k| seen[k * to[1] + place(n)] = own[n * from[1] + k])),
        Layout::Conv { kernel: [kh, kw], channels } => {
            for (i, v) in own.iter().enumerate() {
                let (tap, channel, out) = (i % (kh * kw), i / (kh * kw) % from[1], i / (kh * kw) / from[1]);
                seen[(tap * channels + channel) * to[1] + out] = *v;
            }
        }
    }
    seen
}

/// ggml's name for what a case's matrices are held in.
pub fn blocks_of(quant: Quant) -> Option<Encoding> {
    match quant {
        Quant::Q8_0 => Some(Encoding::Q8_0),
        Quant::Q4_0 => Some(Encoding::Q4_0),
        Quant::Kept | Quant::Off => None,
    }
}

/// The numbers that blocks hold of a matrix `[K, N]`, where it can be in blocks: 32 rows of a column at a time, of one tap.
pub fn in_blocks(held: &mut [f64], kind: Encoding, weight: &Weight, (from, n): (&[usize], usize)) {
    let matrix = matches!(weight.layout, Layout::Matrix | Layout::Conv { .. });
    if !matrix || !from[1].is_multiple_of(32) || !n.is_multiple_of(4) {
        return;
    }
    for block in held.chunks_exact_mut(32 * n) {
        for column in 0..n {
            let numbers: Vec<f32> = (0..32).map(|k| block[k * n + column] as f32).collect();
            let numbers = bytemuck::pod_collect_to_vec::<u8, f32>(&blocks::decode(
                kind,
                &blocks::encode(kind, &numbers),
            ));
            numbers.iter().enumerate().for_each(|(k, v)| block[k * n + column] = f64::from(*v));
        }
    }
}
