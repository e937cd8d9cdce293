use super::bind::Context;
use super::tiles::sums;
use crate::ops::{GroupNorm, LayerNorm};
use crate::{Error, ValueId};
use calotype_shaders::{group_norm, group_norm_apply, group_norm_finish, group_norm_partial, layer_norm};
use calotype_tensor::Shape;

/// Rows that one workgroup sums.
const CHUNK: usize = 128;

/// The chunks' moments, and each image's scale and shift.
pub(super) fn scratch(op: &GroupNorm, x: Shape) -> Vec<u64> {
    if GroupNorm::is_small(x, op.groups) {
        return Vec::new();
    }
    let (images, channels) = (x.dims()[0], x.channels());
    let chunks = (x.rows() / images).div_ceil(CHUNK);
    vec![(images * chunks * 2 * channels * 4) as u64, (images * 2 * channels * 4) as u64]
}

/// One launch, a workgroup a group.
fn lower_small(cx: &mut Context, op: &GroupNorm, out: ValueId) -> Result<(), Error> {
    let (x, y) = (cx.shape(op.x), cx.shape(out));
    let (images, channels) = (y.dims()[0], y.channels());
    let vector = cx.vector(&[x.channels(), channels]);
    let params = group_norm::Params {
        rows: (y.rows() / images) as u32,
        width: (x.channels() / vector) as u32,
        beside: ((channels - x.channels()) / vector) as u32,
        size: (channels / op.groups) as u32,
        eps: op.eps,
    };
    let variant = cx.pointwise("group_norm", vector)?;
    let overrides = [("ACTIVATION", op.activation as u32 as f64)];
    let x = cx.bind(op.x)?;
    let beside = cx.bind_or(op.beside, &x)?;
    let bindings = vec![x, beside, cx.bind(op.gamma)?, cx.bind(op.beta)?, cx.bind(out)?];
    cx.dispatch(variant, &overrides, params, bindings, [op.groups as u32, images as u32, 1]);
    Ok(())
}

pub(super) fn lower_group(cx: &mut Context, op: &GroupNorm, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    if GroupNorm::is_small(cx.shape(out), op.groups) {
        return lower_small(cx, op, out);
    }
    let (images, channels) = (x.dims()[0], x.channels());
    let rows = x.rows() / images;
    let chunks = rows.div_ceil(CHUNK);
    let vector = cx.vector(&[channels]);
    let width = channels / vector;
    let (moments, affine) = (cx.scratch(0), cx.scratch(1));

    let variant = cx.pointwise("group_norm_partial", vector)?;
    let columns = width.div_ceil(64) as u32;
    let fit = cx.rows_that_fit(images * rows, &[op.x]);
    // Whole images at once where a binding holds them, else bands of an image's chunks.
    let bands: Vec<(usize, usize, usize, usize)> = if fit >= images * rows {
        vec![(0, images, 0, chunks)]
    } else {
        let band = (fit / CHUNK).max(1);
        (0..images)
            .flat_map(|i| (0..chunks).step_by(band).map(move |c| (i, 1, c, band.min(chunks - c))))
            .collect()
    };
    for (image, count, first, band) in bands {
        let from = image * rows + first * CHUNK;
        let to = (image + count - 1) * rows + ((first + band) * CHUNK).min(rows);
        let window = cx.window(op.x, from * channels..to * channels)?;
        let params = group_norm_partial::Params {
            rows: rows as u32,
            width: width as u32,
            chunk: CHUNK as u32,
            chunks: chunks as u32,
            first: first as u32,
            x_base: window.base(vector),
            image: image as u32,
        };
        let groups = [band as u32, columns, count as u32];
        cx.dispatch(variant, &[], params, vec![window.binding, moments.clone()], groups);
    }

    let params = group_norm_finish::Params {
        rows: rows as u32,
        channels: channels as u32,
        groups: op.groups as u32,
        chunk: CHUNK as u32,
        chunks: chunks as u32,
        eps: op.eps,
    };
    let bindings = vec![moments, cx.bind(op.gamma)?, cx.bind(op.beta)?, affine.clone()];
    let variant = cx.variant("group_norm_finish", sums(cx.caps))?;
    cx.dispatch(variant, &[], params, bindings, [op.groups as u32, images as u32, 1]);

    let variant = cx.pointwise("group_norm_apply", vector)?;
    let overrides = [("ACTIVATION", op.activation as u32 as f64)];
    let all = images * rows;
    let band = cx.rows_that_fit(all, &[op.x, out]);
    for first in (0..all).step_by(band) {
        let count = band.min(all - first);
        let range = first * channels..(first + count) * channels;
        let (x, y) = (cx.window(op.x, range.clone())?, cx.window(out, range)?);
        let params = group_norm_apply::Params {
            count: (count * width) as u32,
            first: (first * width) as u32,
            width: width as u32,
            image: (rows * width) as u32,
            x_base: x.base(vector),
            y_base: y.base(vector),
        };
        let groups = cx.flat(count * width);
        cx.dispatch(variant, &overrides, params, vec![x.binding, affine.clone(), y.binding], groups);
    }
    Ok(())
}

pub(super) fn lower_layer(cx: &mut Context, op: &LayerNorm, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let vector = cx.vector(&[x.channels()]);
    let params = layer_norm::Params {
        rows: x.rows() as u32,
        width: (x.channels() / vector) as u32,
        eps: op.eps,
        inverse: 1.0 / x.channels() as f32,
    };
    let storage = [cx.a(), if vector == 4 { "VEC4" } else { "VEC1" }];
    let variant = cx.variant("layer_norm", &[&storage, sums(cx.caps)].concat())?;
    let bindings = vec![cx.bind(op.x)?, cx.bind(op.gamma)?, cx.bind(op.beta)?, cx.bind(out)?];
    let groups = cx.flat(x.rows() * 64);
    cx.dispatch(variant, &[], params, bindings, groups);
    Ok(())
}
