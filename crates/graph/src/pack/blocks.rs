//! Weights in blocks: as ggml has them, column by column, and then as a device's kernels read them
//! (`shaders/shared/weights.wgsl`).

use super::{Order, Part, checked, fits, gate, lay, transpose};
use crate::quant::BLOCK;
use crate::value::Layout;
use crate::{Error, Tensor, Weight};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{DType, Encoding, Shape, blocks};

/// Whether blocks as a checkpoint holds them can be those of a device without a number being another.
pub(super) fn lossless(weight: &Weight, from: Encoding) -> bool {
    let wider = weight.stored == Encoding::Q8_0 && [Encoding::Q4_0, Encoding::Q5_0].contains(&from);
    weight.is_blocks() && weight.layout == Layout::Matrix && (from == weight.stored || wider)
}

/// A weight's parts as the blocks of `kind`, in this order; as f32, row by row, where it is to be f32: the numbers that
/// the blocks hold.
pub(super) fn pack(
    weight: &Weight,
    kind: Encoding,
    (seen, order): (Shape, Order),
    parts: &[Part<'_>],
) -> Result<Vec<u8>, Error> {
    let (k, n) = (seen.dims()[0], seen.channels());
    let column = kind.bytes(k) as usize;
    let mut columns = vec![0; n * column];
    let place = gate(weight, seen);
    let mut first = 0;
    for (tensor, part) in weight.tensors.iter().zip(parts) {
        for (o, blocks) in of_part(weight, kind, tensor, part)?.chunks_exact(column).enumerate() {
            columns[place(first + o) * column..][..column].copy_from_slice(blocks);
        }
        first += tensor.shape.dims()[0];
    }
    if weight.stored == Encoding::F32 {
        let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&blocks::decode(kind, &columns));
        let mut rows = vec![0.0f32; k * n];
        transpose(&numbers, [n, k, 1], &mut rows, [n, k], |o| o);
        return Ok(bytemuck::cast_slice(&rows).to_vec());
    }
    Ok(arranged(kind, order, [k, n], &columns))
}

/// A tensor's blocks, column by column of the matrix that it becomes: a kernel's taps one after the other.
fn of_part(weight: &Weight, kind: Encoding, tensor: &Tensor, part: &Part<'_>) -> Result<Vec<u8>, Error> {
    if let Some(from) = part.blocks {
        let own = if from == kind { part.bytes.to_vec() } else { blocks::widen(from, &part.bytes) };
        let scale = |block: &[u8]| DType::F16.to_f32(&block[..2])[0];
        let bad = own.chunks_exact(kind.block()[1]).filter(|block| !scale(block).is_finite()).count();
        checked(tensor, part, bad)?;
        return Ok(own);
    }
    let mut numbers = part.dtype.to_f32(&part.bytes);
    checked(tensor, part, numbers.par_iter().filter(|v| !v.is_finite()).count())?;
    if let Layout::Conv { kernel: [kh, kw], channels } = weight.layout
        && kh * kw > 1
    {
        let mut along = vec![0.0; numbers.len()];
        let own = [tensor.shape.dims()[0], channels, kh * kw];
        lay(Order::Columns, &numbers, own, &mut along, [own[0], channels], |o| o);
        numbers = along;
    }
    // A block's scale is an f16, and so is what matrices multiply.
    fits(tensor, part, &numbers)?;
    Ok(blocks::encode(kind, &numbers))
}

/// Blocks that lie column by column as kernels read them: all quants, then all scales.
fn arranged(kind: Encoding, order: Order, [k, n]: [usize; 2], columns: &[u8]) -> Vec<u8> {
    let [_, size] = kind.block();
    let scales = k * n / BLOCK * (size - 2);
    let mut out = vec![0; scales + k * n / BLOCK * 2];
    let (quants, scales) = out.split_at_mut(scales);
    let at = |block: usize, column: usize| &columns[(column * (k / BLOCK) + block) * size..][..size];
    for block in 0..k / BLOCK {
        for column in 0..n {
            let (from, first) = (at(block, column), block * BLOCK);
            let scale = match order {
                Order::Rows => block * n + column,
                Order::Columns => column * (k / BLOCK) + block,
            };
            scales[2 * scale..][..2].copy_from_slice(&from[..2]);
            let own = &from[2..];
            match (kind, order) {
                (Encoding::Q8_0, Order::Rows) => {
                    own.iter().enumerate().for_each(|(i, q)| quants[(first + i) * n + column] = *q);
                }
                (Encoding::Q8_0, Order::Columns) => {
                    quants[column * k + first..][..BLOCK].copy_from_slice(own);
                }
                // A word has four columns' nibbles of an even row, and above them those of the next.
                (_, Order::Rows) => blocks::nibbles(own).enumerate().for_each(|(i, q)| {
                    let row = first + i;
                    let byte = (row / 2 * (n / 4) + column / 4) * 4 + row % 2 * 2 + column % 4 / 2;
                    quants[byte] |= q << (column % 2 * 4);
                }),
                (_, Order::Columns) => blocks::nibbles(own).enumerate().for_each(|(i, q)| {
                    quants[(column * k + first + i) / 2] |= q << (i % 2 * 4);
                }),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    const K: usize = 64;
    const N: usize = 8;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + 11) % 251) as f32 / 125.0 - 1.0).collect()
    }

    fn weight(layout: Layout, shape: &[usize], stored: Encoding) -> Weight {
        let tensors = vec![Tensor { names: vec!["w".into()], shape: Shape::new(shape) }];
        Weight { tensors, layout, gated: false, constant: None, stored }
    }

    fn part(numbers: &[f32]) -> Part<'static> {
        let bytes = Cow::Owned(bytemuck::cast_slice(numbers).to_vec());
        Part { dtype: DType::F32, blocks: None, bytes, file: "f".into() }
    }

    /// What a kernel makes of the number at row `k` of column `n`.
    fn read(kind: Encoding, order: Order, packed: &[u8], [k, n]: [usize; 2]) -> f32 {
        let word = |at: usize| u32::from_le_bytes(packed[4 * at..][..4].try_into().unwrap());
        let bits = if kind == Encoding::Q8_0 { 8 } else { 4 };
        let (word, shift, scale) = match (bits, order) {
            (8, Order::Rows) => (word(k * (N / 4) + n / 4), n % 4 * 8, k / 32 * N + n),
            (8, Order::Columns) => (word(n * (K / 4) + k / 4), k % 4 * 8, n * (K / 32) + k / 32),
            (_, Order::Rows) => (word(k / 2 * (N / 4) + n / 4), k % 2 * 16 + n % 4 * 4, k / 32 * N + n),
            (_, Order::Columns) => (word(n * (K / 8) + k / 8), k % 8 * 4, n * (K / 32) + k / 32),
        };
        let quant = if bits == 8 {
            f32::from((word >> shift) as u8 as i8)
        } else {
            (word >> shift & 15) as f32 - 8.0
        };
        let scale = &packed[K * N * bits / 8 + 2 * scale..][..2];
        quant * DType::F16.to_f32(scale)[0]
    }

    #[test]
    fn what_kernels_read_are_the_blocks_numbers() {
        for kind in [Encoding::Q8_0, Encoding::Q4_0] {
            let values = numbers(K * N);
            let own: Vec<f32> =
                bytemuck::pod_collect_to_vec(&blocks::decode(kind, &blocks::encode(kind, &values)));
            let matrix = weight(Layout::Matrix, &[N, K], kind);
            for order in [Order::Rows, Order::Columns] {
                let packed = pack(&matrix, kind, (Shape::new(&[K, N]), order), &[part(&values)]).unwrap();
                assert_eq!(packed.len() as u64, kind.bytes(K * N));
                for (k, n) in (0..K).flat_map(|k| (0..N).map(move |n| (k, n))) {
                    assert_eq!(read(kind, order, &packed, [k, n]), own[n * K + k], "{kind} {k} {n}");
                }
            }
            let plain = weight(Layout::Matrix, &[N, K], Encoding::F32);
            let packed = pack(&plain, kind, (Shape::new(&[K, N]), Order::Rows), &[part(&values)]).unwrap();
            let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&packed);
            assert!((0..K * N).all(|i| rows[i] == own[i % N * K + i / N]), "{kind}");
        }
    }

    #[test]
    fn blocks_of_a_kernel_lie_in_a_tap() {
        // [O 8, I 32, 1, 2]: the second tap's numbers are a 64th of the first's, and none is lost.
        let values: Vec<f32> = numbers(N * K)
            .into_iter()
            .enumerate()
            .map(|(i, v)| if i % 2 == 0 { v } else { v / 64.0 })
            .collect();
        let conv = weight(Layout::Conv { kernel: [1, 2], channels: 32 }, &[N, 32, 1, 2], Encoding::F32);
        let to = (Shape::new(&[K, N]), Order::Rows);
        let packed = pack(&conv, Encoding::Q8_0, to, &[part(&values)]).unwrap();
        let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&packed);
        for (i, v) in rows.iter().enumerate() {
            let (tap, channel, out) = (i / N / 32, i / N % 32, i % N);
            let own = values[(out * 32 + channel) * 2 + tap];
            let step = if tap == 0 { 1.0 } else { 1.0 / 64.0 } / 127.0;
            // Half a step, and what 127 of them are off where the step is rounded to f16.
            assert!((v - own).abs() <= 0.54 * step, "{tap} {channel} {out}: {v} for {own}");
        }
    }

    #[test]
    fn blocks_of_a_file_are_taken_as_they_are() {
        let values = numbers(K * N);
        for (from, to) in [
            (Encoding::Q8_0, Encoding::Q8_0),
            (Encoding::Q4_0, Encoding::Q4_0),
            (Encoding::Q4_0, Encoding::Q8_0),
            (Encoding::Q5_0, Encoding::Q8_0),
        ] {
            let own = blocks::encode(from, &values);
            let held: Vec<f32> = bytemuck::pod_collect_to_vec(&blocks::decode(from, &own));
            let stored = weight(Layout::Matrix, &[N, K], to);
            assert!(lossless(&stored, from));
            let part = Part { dtype: DType::F32, blocks: Some(from), bytes: own.into(), file: "f".into() };
            let packed = pack(&stored, to, (Shape::new(&[K, N]), Order::Columns), &[part]).unwrap();
            for (k, n) in (0..K).flat_map(|k| (0..N).map(move |n| (k, n))) {
                assert_eq!(read(to, Order::Columns, &packed, [k, n]), held[n * K + k], "{from} {to} {k} {n}");
            }
        }
        assert!(!lossless(&weight(Layout::Matrix, &[N, K], Encoding::Q8_0), Encoding::Q5_1));
        assert!(!lossless(&weight(Layout::Matrix, &[N, K], Encoding::Q4_0), Encoding::Q8_0));
    }

    #[test]
    fn damage_and_overflow_are_named() {
        let matrix = weight(Layout::Matrix, &[4, 32], Encoding::Q8_0);
        let to = (Shape::new(&[32, 4]), Order::Rows);
        let bad = |v: f32| {
            let mut values = numbers(4 * 32);
            values[7] = v;
            pack(&matrix, Encoding::Q8_0, to, &[part(&values)]).unwrap_err().to_string()
        };
        assert!(bad(f32::NAN).contains("tensor w in f holds 1 values that are not finite"));
        assert!(bad(1e6).contains("1e6"), "{}", bad(1e6));
        let mut own = blocks::encode(Encoding::Q8_0, &numbers(4 * 32));
        own[..2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
        let part =
            Part { dtype: DType::F32, blocks: Some(Encoding::Q8_0), bytes: own.into(), file: "f".into() };
        assert!(pack(&matrix, Encoding::Q8_0, to, &[part]).is_err());
    }
}
