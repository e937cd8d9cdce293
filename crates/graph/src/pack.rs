use crate::executor::WeightFetch;
use crate::value::Layout;
use crate::{Error, Graph, Weight, WeightId};
use calotype_tensor::{DType, Shape};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;

/// Bytes of packed weights held on the host at a time: what bounds its memory while a model loads.
const AT_ONCE: u64 = 64 << 20;

/// Fetches and lays out a graph's weights, those of `wanted`, in order, on all processors, a few at a time; `each` is
/// given every one's bytes. `as_f32` widens what the graph would keep as f16.
pub async fn pack_each(
    graph: &Graph,
    wanted: &[(WeightId, Shape)],
    source: &dyn WeightFetch,
    as_f32: bool,
    each: &mut dyn FnMut(WeightId, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = wanted;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, shape): &&(WeightId, Shape)| {
            let first = bytes == 0;
            bytes += 4 * shape.numel() as u64;
            first || bytes <= AT_ONCE
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
        rest = later;
        let mut jobs = Vec::new();
        for &(id, seen) in now {
            let mut weight = graph.weights()[id.index()].clone();
            if as_f32 {
                weight.dtype = DType::F32;
            }
            let name = &graph.weights()[id.index()].names[0];
            let (dtype, bytes) = match &graph.weights()[id.index()].constant {
                Some(constant) => (constant.dtype(), Cow::Borrowed(constant.bytes())),
                None => {
                    let (dtype, _) =
                        source.find(name).ok_or_else(|| Error::Weight(source.missing(&weight.names)))?;
                    (dtype, source.fetch(name).await.map_err(Error::Weight)?)
                }
            };
            jobs.push((id, weight, seen, dtype, bytes, source.file(name)));
        }
        let packed: Vec<(WeightId, Result<Vec<u8>, Error>)> = jobs
            .into_par_iter()
            .map(|(id, weight, seen, dtype, bytes, file)| (id, pack(&weight, seen, dtype, &bytes, &file)))
            .collect();
        for (id, bytes) in packed {
            each(id, bytes?)?;
        }
    }
    Ok(())
}

/// Lays a checkpoint's tensor out as `weight` asks: `bytes` of `dtype` become the bytes of `weight.dtype` for a
/// value of shape `seen`. Values that are not finite, or too large for f16, are errors that name the tensor.
pub fn pack(weight: &Weight, seen: Shape, dtype: DType, bytes: &[u8], file: &str) -> Result<Vec<u8>, Error> {
    let name = || weight.names[0].clone();
    let finite = |bad: usize| match bad {
        0 => Ok(()),
        count => Err(Error::WeightNotFinite { name: name(), file: file.to_string(), count }),
    };
    if (dtype, weight.dtype) == (DType::F16, DType::F16) {
        // Halves stay as they are: only their order changes.
        let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
        finite(halves.iter().filter(|h| *h & 0x7c00 == 0x7c00).count())?;
        return Ok(bytemuck::cast_slice(&arrange(weight, seen, halves)).to_vec());
    }
    let values = decode(dtype, bytes);
    finite(values.iter().filter(|v| !v.is_finite()).count())?;
    if weight.dtype == DType::F16 {
        let most = values.iter().copied().fold(0.0f32, |m, v| if v.abs() > m.abs() { v } else { m });
        if f16::from_f32(most).is_infinite() {
            return Err(Error::WeightOverflow { name: name(), file: file.to_string(), value: most });
        }
    }
    let values = arrange(weight, seen, values);
    Ok(match weight.dtype {
        DType::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            bytemuck::cast_slice(&halves).to_vec()
        }
        _ => bytemuck::cast_slice(&values).to_vec(),
    })
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / dtype.size()];
    match dtype {
        DType::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).convert_to_f32_slice(&mut values),
        DType::BF16 => bytemuck::pod_collect_to_vec::<u8, bf16>(bytes).convert_to_f32_slice(&mut values),
        _ => values = bytemuck::pod_collect_to_vec(bytes),
    }
    values
}

fn arrange<T: Copy + Default>(weight: &Weight, seen: Shape, mut values: Vec<T>) -> Vec<T> {
    let from = weight.shape.dims();
    match weight.layout {
        Layout::Vector | Layout::Table => {
            values.resize(seen.numel(), T::default());
            values
        }
        Layout::Matrix => transpose(&values, [from[0], from[1], 1], [seen.dims()[1], seen.dims()[0]]),
        Layout::Conv { kernel: [kh, kw], channels } => {
            transpose(&values, [from[0], from[1], kh * kw], [seen.dims()[1], channels])
        }
    }
}

/// `[out, channels, taps]` to `[taps, padded_channels, padded_out]`, in tiles that stay in the first-level cache.
fn transpose<T: Copy + Default>(
    from: &[T],
    [out, channels, taps]: [usize; 3],
    [padded_out, padded_channels]: [usize; 2],
) -> Vec<T> {
    const TILE: usize = 16;
    let mut to = vec![T::default(); taps * padded_channels * padded_out];
    for c0 in (0..channels).step_by(TILE) {
        let c1 = (c0 + TILE).min(channels);
        for o0 in (0..out).step_by(TILE) {
            let o1 = (o0 + TILE).min(out);
            for tap in 0..taps {
                for c in c0..c1 {
                    let row = (tap * padded_channels + c) * padded_out;
                    let column = c * taps + tap;
                    for (o, slot) in (o0..o1).zip(&mut to[row + o0..row + o1]) {
                        *slot = from[o * channels * taps + column];
                    }
                }
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(layout: Layout, shape: &[usize], dtype: DType) -> Weight {
        Weight { names: vec!["w".into()], shape: Shape::new(shape), layout, constant: None, dtype }
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
    fn halves_and_floats_are_laid_out_alike() {
        let values: Vec<f32> = (0..35).map(|i| i as f32 * 0.25 - 4.0).collect();
        let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
        let pack_as = |from: DType, bytes: &[u8], to: DType| {
            let packed =
                pack(&weight(Layout::Matrix, &[5, 7], to), Shape::new(&[8, 8]), from, bytes, "f").unwrap();
            decode(to, &packed)
        };
        let plain = pack_as(DType::F32, bytemuck::cast_slice(&values), DType::F32);
        assert_eq!(plain[1], values[7]);
        assert_eq!(pack_as(DType::F16, bytemuck::cast_slice(&halves), DType::F16), plain);
        assert_eq!(pack_as(DType::F16, bytemuck::cast_slice(&halves), DType::F32), plain);
        assert_eq!(pack_as(DType::F32, bytemuck::cast_slice(&values), DType::F16), plain);
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
        assert!(large.contains("-1e6") && large.contains("--dtype f32"), "{large}");
        let half = weight(Layout::Vector, &[1], DType::F16);
        let infinite = f16::INFINITY.to_le_bytes();
        assert!(pack(&half, Shape::new(&[1]), DType::F16, &infinite, "f").is_err());
    }
}
