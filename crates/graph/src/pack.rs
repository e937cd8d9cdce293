mod blocks;
mod halves;

use crate::value::Layout;
use crate::{Error, Graph, Tensor, Weight, WeightId};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{DType, Encoding, Shape, Tensors};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;

/// Bytes of packed weights held on the host at a time: what bounds its memory while a model loads.
const AT_ONCE: u64 = 64 << 20;

/// Fetches and lays out a graph's weights, those of `wanted`, in order, on all processors, a few at a time; `each` is
/// given every one's bytes. `as_f32` widens what the graph would keep as f16 or in blocks, and `by_columns` says which
/// matrices lie column by column ([`crate::lower::by_columns`]).
pub async fn pack_each(
    graph: &Graph,
    wanted: &[(WeightId, Shape)],
    source: &dyn Tensors,
    as_f32: bool,
    by_columns: &dyn Fn(&Weight, Shape) -> bool,
    each: &mut dyn FnMut(WeightId, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = wanted;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, shape): &&(WeightId, Shape)| {
            let first = bytes == 0;
            bytes += shape.bytes(DType::F32);
            first || bytes <= AT_ONCE
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
        rest = later;
        let mut jobs = Vec::new();
        for &(id, seen) in now {
            let own = &graph.weights()[id.index()];
            let mut weight = own.clone();
            if as_f32 {
                weight.stored = Encoding::F32;
            }
            let mut parts = Vec::new();
            for tensor in &own.tensors {
                parts.push(Part::fetch(own, &tensor.names[0], source).await?);
            }
            let order = if by_columns(own, seen) { Order::Columns } else { Order::Rows };
            jobs.push((id, weight, (seen, order), parts));
        }
        let done = |(id, weight, to, parts): (WeightId, Weight, (Shape, Order), Vec<Part<'_>>)| {
            let kind = graph.weights()[id.index()].stored;
            let packed = match kind.block()[0] {
                1 if halves::lie_as_stored(&weight, to.0, &parts) => halves::as_stored(&weight, parts),
                1 => pack(&weight, to, &parts),
                _ => blocks::pack(&weight, kind, to, &parts),
            };
            (id, packed)
        };
        let packed: Vec<(WeightId, Result<Vec<u8>, Error>)> = jobs.into_par_iter().map(done).collect();
        for (id, bytes) in packed {
            each(id, bytes?)?;
            let own = &graph.weights()[id.index()];
            own.tensors.iter().for_each(|tensor| source.release(&tensor.names[0]));
        }
    }
    Ok(())
}

/// A weight's name in its component's files: without the component.
fn bare(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, bare)| bare)
}

/// In which order a matrix lies, where it is one.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// `[K, N]`.
    Rows,
    /// `[N, K]`.
    Columns,
}

/// One of a weight's tensors as a checkpoint holds it.
pub(crate) struct Part<'a> {
    /// The elements' type, where they are not in blocks.
    pub dtype: DType,
    /// In which blocks they are, where a device takes those as they are.
    pub blocks: Option<Encoding>,
    /// The elements, little-endian, or their blocks.
    pub bytes: Cow<'a, [u8]>,
    /// The file they are in, for messages.
    pub file: String,
}

impl<'a> Part<'a> {
    async fn fetch(weight: &'a Weight, name: &'a str, source: &'a dyn Tensors) -> Result<Self, Error> {
        let file = source.describe(name);
        if let Some(constant) = &weight.constant {
            let (dtype, bytes) = (constant.dtype(), Cow::Borrowed(constant.bytes()));
            return Ok(Self { dtype, blocks: None, bytes, file });
        }
        let info = source.get(name)?;
        let dtype = info.dtype;
        if blocks::lossless(weight, info.encoding)
            && let Some(read) = source.as_stored(name)
        {
            return Ok(Self { dtype, blocks: Some(info.encoding), bytes: read.await?, file });
        }
        Ok(Self { dtype, blocks: None, bytes: source.read_all(name).await?, file })
    }
}

/// Lays a weight's tensors out as `weight` asks: the parts become the bytes of `weight.stored` for a value of shape
/// `seen` in this order. Values that are not finite, or too large for f16, are errors that name the tensor.
pub(crate) fn pack(weight: &Weight, to: (Shape, Order), parts: &[Part<'_>]) -> Result<Vec<u8>, Error> {
    if weight.stored == Encoding::F16 && parts.iter().all(|p| p.dtype == DType::F16) {
        // Halves stay as they are: only their order changes.
        let parts = weight.tensors.iter().zip(parts).map(|(tensor, part)| halves::of(tensor, part));
        let parts = parts.collect::<Result<Vec<_>, Error>>()?;
        return Ok(in_bytes(to.0.numel(), |all: &mut [u16]| arrange(weight, to, &parts, all)));
    }
    let floats = |(tensor, part): (&Tensor, &Part<'_>)| {
        let values = part.dtype.to_f32(&part.bytes);
        checked(tensor, part, values.iter().filter(|v| !v.is_finite()).count())?;
        if weight.stored == Encoding::F16 {
            fits(tensor, part, &values)?;
        }
        Ok(values)
    };
    let parts = weight.tensors.iter().zip(parts).map(floats).collect::<Result<Vec<_>, Error>>()?;
    Ok(match weight.stored {
        Encoding::F16 => {
            let mut values = vec![0.0; to.0.numel()];
            arrange(weight, to, &parts, &mut values);
            drop(parts);
            in_bytes(values.len(), |halves: &mut [f16]| halves.convert_from_f32_slice(&values))
        }
        _ => in_bytes(to.0.numel(), |all: &mut [f32]| arrange(weight, to, &parts, all)),
    })
}

/// The bytes of as many numbers as `fill` is given zeros for. They are made in place: of a large tensor a copy counts, in a
/// page whose memory is small.
fn in_bytes<T: bytemuck::Pod>(count: usize, fill: impl FnOnce(&mut [T])) -> Vec<u8> {
    let mut bytes = vec![0; count * size_of::<T>()];
    match bytemuck::try_cast_slice_mut(&mut bytes) {
        Ok(numbers) => fill(numbers),
        // Bytes need not lie where numbers may.
        Err(_) => {
            let mut numbers = vec![T::zeroed(); count];
            fill(&mut numbers);
            bytes.copy_from_slice(bytemuck::cast_slice(&numbers));
        }
    }
    bytes
}

/// Fails where `bad` numbers are not finite.
fn checked(tensor: &Tensor, part: &Part<'_>, bad: usize) -> Result<(), Error> {
    match bad {
        0 => Ok(()),
        count => {
            let (name, file) = (bare(&tensor.names[0]).to_string(), part.file.clone());
            Err(Error::WeightNotFinite { name, file, count })
        }
    }
}

/// Fails where f16 does not hold the largest of these numbers.
fn fits(tensor: &Tensor, part: &Part<'_>, values: &[f32]) -> Result<(), Error> {
    let most = values.iter().copied().fold(0.0f32, |m, v| if v.abs() > m.abs() { v } else { m });
    if !f16::from_f32(most).is_infinite() {
        return Ok(());
    }
    let (name, file) = (bare(&tensor.names[0]).to_string(), part.file.clone());
    Err(Error::WeightOverflow { name, file, value: most })
}

/// Where an output goes: a gated weight's first half to the first four of every eight columns, its second half to the others.
fn gate(weight: &Weight, seen: Shape) -> impl Fn(usize) -> usize {
    let (half, gated) = (seen.channels() / 2, weight.gated);
    move |o: usize| if gated { o % half / 4 * 8 + o / half * 4 + o % 4 } else { o }
}

/// Lays the parts' numbers out in `to`, which is zeros.
fn arrange<T: Copy>(weight: &Weight, (seen, order): (Shape, Order), parts: &[impl AsRef<[T]>], to: &mut [T]) {
    let gate = gate(weight, seen);
    let mut first = 0;
    for (tensor, values) in weight.tensors.iter().zip(parts) {
        let (from, values) = (tensor.shape.dims(), values.as_ref());
        match weight.layout {
            Layout::Vector if weight.gated => {
                values.iter().enumerate().for_each(|(i, v)| to[gate(first + i)] = *v);
            }
            Layout::Vector | Layout::Table => to[first..first + values.len()].copy_from_slice(values),
            Layout::Matrix => {
                let [k, n]: [usize; 2] = seen.dims().try_into().expect("a matrix has two axes");
                let shape = [from[0], from[1], 1];
                lay(order, values, shape, to, [n, k], |o| gate(first + o));
            }
            Layout::Conv { kernel: [kh, kw], channels } => {
                let padded = [seen.dims()[1], channels];
                lay(order, values, [from[0], from[1], kh * kw], to, padded, |o| first + o);
            }
        }
        first += if weight.layout == Layout::Vector { from.iter().product() } else { from[0] };
    }
}

/// `[out, channels, taps]` into `[taps, padded_channels, padded_out]`, or column by column into `[padded_out, taps,
/// padded_channels]`; `column` tells where an output goes.
fn lay<T: Copy>(
    order: Order,
    from: &[T],
    shape: [usize; 3],
    to: &mut [T],
    padded: [usize; 2],
    column: impl Fn(usize) -> usize,
) {
    let ([out, channels, taps], [_, padded_channels]) = (shape, padded);
    if order == Order::Rows {
        return transpose(from, shape, to, padded, column);
    }
    for o in 0..out {
        let row = &mut to[column(o) * taps * padded_channels..][..taps * padded_channels];
        let from = &from[o * channels * taps..][..channels * taps];
        if taps == 1 {
            row[..channels].copy_from_slice(from);
            continue;
        }
        for (c, own) in from.chunks_exact(taps).enumerate() {
            own.iter().enumerate().for_each(|(tap, value)| row[tap * padded_channels + c] = *value);
        }
    }
}

/// `[out, channels, taps]` into `[taps, padded_channels, padded_out]`, in tiles that stay in the first-level cache;
/// `column` tells where an output goes.
fn transpose<T: Copy>(
    from: &[T],
    [out, channels, taps]: [usize; 3],
    to: &mut [T],
    [padded_out, padded_channels]: [usize; 2],
    column: impl Fn(usize) -> usize,
) {
    const TILE: usize = 16;
    for c0 in (0..channels).step_by(TILE) {
        let c1 = (c0 + TILE).min(channels);
        for o0 in (0..out).step_by(TILE) {
            let o1 = (o0 + TILE).min(out);
            for tap in 0..taps {
                for c in c0..c1 {
                    let row = &mut to[(tap * padded_channels + c) * padded_out..][..padded_out];
                    for o in o0..o1 {
                        row[column(o)] = from[(o * channels + c) * taps + tap];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(layout: Layout, shape: &[usize], dtype: DType) -> Weight {
        let tensors = vec![Tensor { names: vec!["w".into()], shape: Shape::new(shape) }];
        Weight { tensors, layout, gated: false, constant: None, stored: dtype.into() }
    }

    fn pack(weight: &Weight, seen: Shape, dtype: DType, bytes: &[u8], file: &str) -> Result<Vec<u8>, Error> {
        super::pack(
            weight,
            (seen, Order::Rows),
            &[Part { dtype, blocks: None, bytes: bytes.into(), file: file.into() }],
        )
    }

    #[test]
    fn a_convolution_is_laid_out_taps_first_and_padded_with_zeros() {
        // [O 3, I 2, 1, 2] to [KW 2, I 3, O 4].
        let values: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        let w = weight(Layout::Conv { kernel: [1, 2], channels: 3 }, &[3, 2, 1, 2], DType::F32);
        let packed = pack(&w, Shape::new(&[6, 4]), DType::F32, bytemuck::cast_slice(&values), "f").unwrap();
        let got: Vec<f32> = bytemuck::pod_collect_to_vec(&packed);
        let tap = |t: usize| {
            let at = |o: usize, i: usize| if o < 3 && i < 2 { values[(o * 2 + i) * 2 + t] } else { 0.0 };
            (0..3).flat_map(move |i| (0..4).map(move |o| at(o, i))).collect::<Vec<f32>>()
        };
        assert_eq!(got, [tap(0), tap(1)].concat());
    }

    #[test]
    fn column_by_column_a_matrix_lies_transposed() {
        let values: Vec<f32> = (0..3 * 2 * 4).map(|i| i as f32).collect();
        let part = || {
            [Part {
                dtype: DType::F32,
                blocks: None,
                bytes: bytemuck::cast_slice(&values).into(),
                file: String::new(),
            }]
        };
        let conv = weight(Layout::Conv { kernel: [2, 2], channels: 4 }, &[3, 2, 2, 2], DType::F32);
        let (k, n) = (16, 4);
        let packed = |w: &Weight, order| -> Vec<f32> {
            bytemuck::pod_collect_to_vec(&super::pack(w, (Shape::new(&[k, n]), order), &part()).unwrap())
        };
        let (rows, columns) = (packed(&conv, Order::Rows), packed(&conv, Order::Columns));
        assert!((0..k * n).all(|i| columns[i] == rows[i % k * n + i / k]), "{columns:?}");
        assert_eq!(
            columns[..6],
            [0.0, 4.0, 0.0, 0.0, 1.0, 5.0],
            "channels of a tap beside each other, padded"
        );
        let gated = Weight { gated: true, ..weight(Layout::Matrix, &[8, 3], DType::F32) };
        let packed = |order| -> Vec<f32> {
            bytemuck::pod_collect_to_vec(&super::pack(&gated, (Shape::new(&[4, 8]), order), &part()).unwrap())
        };
        let (rows, columns) = (packed(Order::Rows), packed(Order::Columns));
        assert!((0..32).all(|i| columns[i] == rows[i % 4 * 8 + i / 4]), "{columns:?}");
    }

    #[test]
    fn halves_and_floats_are_laid_out_alike() {
        let values: Vec<f32> = (0..35).map(|i| i as f32 * 0.25 - 4.0).collect();
        let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
        let pack_as = |from: DType, bytes: &[u8], to: DType| {
            let packed =
                pack(&weight(Layout::Matrix, &[5, 7], to), Shape::new(&[8, 8]), from, bytes, "f").unwrap();
            to.to_f32(&packed)
        };
        let plain = pack_as(DType::F32, bytemuck::cast_slice(&values), DType::F32);
        assert_eq!(plain[1], values[7]);
        assert_eq!(pack_as(DType::F16, bytemuck::cast_slice(&halves), DType::F16), plain);
        assert_eq!(pack_as(DType::F16, bytemuck::cast_slice(&halves), DType::F32), plain);
        assert_eq!(pack_as(DType::F32, bytemuck::cast_slice(&values), DType::F16), plain);
    }

    /// Packs matrices whose elements are `100 · column + row`, given as checkpoints hold them.
    fn columns(widths: &[usize], gated: bool) -> Vec<f32> {
        let (k, n) = (4, widths.iter().sum::<usize>());
        let tensor = |n: &usize| Tensor { names: vec!["w".into()], shape: Shape::new(&[*n, k]) };
        let tensors: Vec<Tensor> = widths.iter().map(tensor).collect();
        let w = Weight { tensors, layout: Layout::Matrix, gated, constant: None, stored: Encoding::F32 };
        let mut first = 0;
        let parts: Vec<Part> = widths
            .iter()
            .map(|width| {
                let own = first..first + width;
                first += width;
                let values: Vec<f32> = own.flat_map(|c| (0..k).map(move |r| (100 * c + r) as f32)).collect();
                let bytes = bytemuck::cast_slice(&values).to_vec().into();
                Part { dtype: DType::F32, blocks: None, bytes, file: String::new() }
            })
            .collect();
        bytemuck::pod_collect_to_vec(&super::pack(&w, (Shape::new(&[k, n]), Order::Rows), &parts).unwrap())
    }

    #[test]
    fn tensors_lie_side_by_side_and_gates_beside_their_values() {
        let plain = columns(&[4, 12, 8], false);
        assert!((0..4 * 24).all(|i| plain[i] == (100 * (i % 24) + i / 24) as f32));
        let gated = columns(&[16], true);
        let order = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];
        assert!((0..4 * 16).all(|i| gated[i] == (100 * order[i % 16] + i / 16) as f32), "{gated:?}");
    }

    #[test]
    fn damage_and_overflow_are_named() {
        let bad = |values: &[f32], to: DType| {
            let w = weight(Layout::Vector, &[2], to);
            pack(&w, Shape::new(&[2]), DType::F32, bytemuck::cast_slice(values), "unet.safetensors")
                .unwrap_err()
        };
        let nan = bad(&[1.0, f32::NAN], DType::F32).to_string();
        assert!(nan.contains("tensor w in unet.safetensors holds 1 values that are not finite"), "{nan}");
        let large = bad(&[1.0, -1e6], DType::F16).to_string();
        assert!(large.contains("-1e6") && large.contains("precision f32"), "{large}");
        let half = weight(Layout::Vector, &[1], DType::F16);
        let infinite = f16::INFINITY.to_le_bytes();
        assert!(pack(&half, Shape::new(&[1]), DType::F16, &infinite, "f").is_err());
    }
}
