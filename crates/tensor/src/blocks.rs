//! ggml's blocks of quantised numbers: some elements of a row, with the scales that they share. Layouts and arithmetic:
//! ggml's `src/ggml-common.h` and `src/ggml-quants.c` (`dequantize_row_…`, `quantize_row_…_ref`).

use crate::Encoding;
use crate::parallel::prelude::*;
use half::f16;

/// Elements of a block of the k-quants (`QK_K`).
const SUPER: usize = 256;

/// Blocks that a thread takes at a time.
const RUN: usize = 256;

/// Whole blocks as f32 numbers, little-endian. The encoding must be one of blocks.
pub fn decode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let block: fn(&[u8], &mut Vec<f32>) = match encoding {
        Encoding::Q4_0 => q4_0,
        Encoding::Q4_1 => q4_1,
        Encoding::Q5_0 => q5_0,
        Encoding::Q5_1 => q5_1,
        Encoding::Q8_0 => q8_0,
        Encoding::Q2K => q2_k,
        Encoding::Q3K => q3_k,
        Encoding::Q4K => q4_k,
        Encoding::Q5K => q5_k,
        Encoding::Q6K => q6_k,
        _ => unreachable!("{encoding} has no blocks of ggml's"),
    };
    let [elements, size] = encoding.block();
    let mut out = vec![0; bytes.len() / size * elements * size_of::<f32>()];
    let runs = out.par_chunks_mut(RUN * elements * size_of::<f32>()).zip(bytes.par_chunks(RUN * size));
    runs.for_each_init(Vec::new, |numbers, (out, bytes)| {
        numbers.clear();
        bytes.chunks_exact(size).for_each(|bytes| block(bytes, numbers));
        out.copy_from_slice(bytemuck::cast_slice(numbers));
    });
    out
}

/// The f16 at `at`.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Sixteen bytes: the low halves of all, then the high halves.
pub fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

fn q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(nibbles(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

fn q4_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half(block, 0), half(block, 2));
    out.extend(nibbles(&block[4..]).map(|q| d * f32::from(q) + m));
}

/// Thirty-two numbers of five bits: the fifth bits stand in front.
fn fives(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    nibbles(&bytes[4..]).enumerate().map(move |(i, q)| q | ((high >> i & 1) as u8) << 4)
}

fn q5_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(fives(&block[2..]).map(|q| d * (f32::from(q) - 16.0)));
}

fn q5_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half(block, 0), half(block, 2));
    out.extend(fives(&block[4..]).map(|q| d * f32::from(q) + m));
}

fn q8_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(block[2..].iter().map(|&q| d * f32::from(q as i8)));
}

/// The two bits of element `i` of 256: a byte has one of each of four runs of 32.
fn twos(quants: &[u8], i: usize) -> u8 {
    quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

/// A block of 256 by its runs of `len` elements: the scale of each times the quant of an element, less the run's least.
fn runs(out: &mut Vec<f32>, len: usize, scale: impl Fn(usize) -> (f32, f32), quant: impl Fn(usize) -> f32) {
    for run in 0..SUPER / len {
        let (scale, least) = scale(run);
        out.extend((run * len..(run + 1) * len).map(|i| scale * quant(i) - least));
    }
}

/// Scales and minima in nibbles, quants, the two factors.
fn q2_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, min) = (half(block, 80), half(block, 82));
    let scale = |run: usize| (d * f32::from(block[run] & 15), min * f32::from(block[run] >> 4));
    runs(out, 16, scale, |i| f32::from(twos(&block[16..80], i)));
}

/// Third bits, quants, scales of six bits, the factor.
fn q3_k(block: &[u8], out: &mut Vec<f32>) {
    let (high, quants, scales, d) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
    let scale = |run: usize| {
        let low = scales[run % 8] >> (run / 8 * 4) & 15;
        let scale = low | (scales[8 + run % 4] >> (run / 4 * 2) & 3) << 4;
        (d * (f32::from(scale) - 32.0), 0.0)
    };
    let quant = |i: usize| {
        // Where the bit is not set four is taken away.
        let borrow = 1 - (high[i % 32] >> (i / 32) & 1);
        f32::from(twos(quants, i)) - f32::from(borrow * 4)
    };
    runs(out, 16, scale, quant);
}

/// The scale and the minimum of a run of 32, six bits each, of twelve bytes.
fn sixes(scales: &[u8], run: usize) -> (f32, f32) {
    let (scale, least) = match run {
        0..4 => (scales[run] & 63, scales[run + 4] & 63),
        _ => {
            let (low, high) = (scales[run + 4], (scales[run - 4] >> 6, scales[run] >> 6));
            (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
        }
    };
    (f32::from(scale), f32::from(least))
}

/// The four bits of element `i` of 256: a byte has one of each of two runs of 32.
fn fours(quants: &[u8], i: usize) -> u8 {
    quants[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15
}

/// The two factors, scales and minima, quants.
fn q4_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, min) = (half(block, 0), half(block, 2));
    let scale = |run| {
        let (scale, least) = sixes(&block[4..16], run);
        (d * scale, min * least)
    };
    runs(out, 32, scale, |i| f32::from(fours(&block[16..], i)));
}

/// The two factors, scales and minima, fifth bits, quants.
fn q5_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, min) = (half(block, 0), half(block, 2));
    let scale = |run| {
        let (scale, least) = sixes(&block[4..16], run);
        (d * scale, min * least)
    };
    let high = |i: usize| (block[16 + i % 32] >> (i / 32) & 1) << 4;
    runs(out, 32, scale, |i| f32::from(fours(&block[48..], i) | high(i)));
}

/// Low four bits, high two bits, scales, the factor.
fn q6_k(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 208);
    // A byte of the low bits has one of each of two runs of 64.
    let low = |i: usize| block[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
    let quant = |i: usize| f32::from(low(i) | twos(&block[128..192], i) << 4) - 32.0;
    runs(out, 16, |run| (d * f32::from(block[192 + run] as i8), 0.0), quant);
}

/// Blocks of q4_0 or q5_0 as blocks of q8_0, which hold the same numbers: the same scales, and integers that fit.
pub fn widen(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let [elements, size] = encoding.block();
    let mut out = Vec::with_capacity(bytes.len() / size * (2 + elements));
    for block in bytes.chunks_exact(size) {
        out.extend(&block[..2]);
        match encoding {
            Encoding::Q4_0 => out.extend(nibbles(&block[2..]).map(|q| q.wrapping_sub(8))),
            Encoding::Q5_0 => out.extend(fives(&block[2..]).map(|q| q.wrapping_sub(16))),
            _ => unreachable!("{encoding} has other numbers than q8_0"),
        }
    }
    out
}

/// Whole blocks of finite numbers, as ggml makes them where nothing says which numbers matter most. The encoding must be one
/// of [`MADE`].
pub fn encode(encoding: Encoding, numbers: &[f32]) -> Vec<u8> {
    let block: fn(&[f32], &mut Vec<u8>) = match encoding {
        Encoding::Q4_0 => |numbers, out| symmetric::<8>(numbers, out),
        Encoding::Q5_0 => |numbers, out| symmetric::<16>(numbers, out),
        Encoding::Q4_1 => |numbers, out| between::<15>(numbers, out),
        Encoding::Q5_1 => |numbers, out| between::<31>(numbers, out),
        Encoding::Q8_0 => bytes,
        _ => unreachable!("{encoding} is not made"),
    };
    let [elements, size] = encoding.block();
    let run = |numbers: &[f32]| {
        let mut out = Vec::with_capacity(numbers.len() / elements * size);
        numbers.chunks_exact(elements).for_each(|numbers| block(numbers, &mut out));
        out
    };
    numbers.par_chunks(RUN * elements).flat_map_iter(run).collect()
}

/// What `encode` makes: the kinds that need no search.
pub const MADE: [Encoding; 5] =
    [Encoding::Q8_0, Encoding::Q5_1, Encoding::Q5_0, Encoding::Q4_1, Encoding::Q4_0];

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Fifth bits, if there are any, and nibbles: the low halves of bytes first.
fn pack(quants: &[u8], fives: bool, out: &mut Vec<u8>) {
    if fives {
        let high = quants.iter().enumerate().fold(0u32, |high, (i, q)| high | u32::from(q >> 4) << i);
        out.extend(high.to_le_bytes());
    }
    let (low, high) = quants.split_at(quants.len() / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| low & 15 | high << 4));
}

/// Numbers on both sides of nought: the one that is farthest from it is `-HALF` steps.
fn symmetric<const HALF: u8>(numbers: &[f32], out: &mut Vec<u8>) {
    let farthest = |far: f32, v: f32| if v.abs() > far.abs() { v } else { far };
    let d = numbers.iter().copied().reduce(farthest).unwrap_or(0.0) / -f32::from(HALF);
    let (id, most) = (inverse(d), 2 * HALF - 1);
    out.extend(f16::from_f32(d).to_le_bytes());
    let quant = |v: &f32| ((v * id + (f32::from(HALF) + 0.5)) as u8).min(most);
    pack(&numbers.iter().map(quant).collect::<Vec<_>>(), HALF > 8, out);
}

/// Numbers between the least and the largest, in `STEPS` steps.
fn between<const STEPS: u8>(numbers: &[f32], out: &mut Vec<u8>) {
    let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
    let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (most - least) / f32::from(STEPS);
    let id = inverse(d);
    out.extend([d, least].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
    let quant = |v: &f32| (((v - least) * id + 0.5) as u8).min(STEPS);
    pack(&numbers.iter().map(quant).collect::<Vec<_>>(), STEPS > 15, out);
}

/// A byte each.
fn bytes(numbers: &[f32], out: &mut Vec<u8>) {
    let d = numbers.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
    let id = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(numbers.iter().map(|v| (v * id).round() as i8 as u8));
}
