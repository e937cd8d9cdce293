use super::bind::{Context, flag};
use super::tiles::sums;
use crate::ops::{Embedding, FromLatents, Range, Row, SamplerStep, StepRow, TimestepEmbedding, ToRgba8};
use crate::{Error, ValueId};
use calotype_shaders::{
    embedding, from_latents, guidance_spread, range, row, sampler_step, timestep_embedding, to_rgba8,
};

pub(super) fn embedding(cx: &mut Context, op: &Embedding, out: ValueId) -> Result<(), Error> {
    let (ids, table) = (cx.shape(op.ids), cx.shape(op.table));
    let [vocabulary, c]: [usize; 2] = table.dims().try_into().expect("checked when added");
    let vector = cx.vector(&[c]);
    let (a, w) = (cx.a(), cx.w(op.table));
    let variant = cx.variant("embedding", &[a, w, if vector == 4 { "VEC4" } else { "VEC1" }])?;
    let count = ids.numel() * c / vector;
    let band = cx.rows_that_fit(vocabulary, &[op.table]);
    for first in (0..vocabulary).step_by(band) {
        let end = (first + band).min(vocabulary);
        let rows = cx.window(op.table, first * c..end * c)?;
        let params = embedding::Params {
            count: count as u32,
            width: (c / vector) as u32,
            tokens: ids.channels() as u32,
            begin: first as u32,
            end: end as u32,
            base: rows.base(vector),
        };
        let positions = cx.bind_or(op.positions, &rows.binding)?;
        let bindings = vec![cx.bind(op.ids)?, rows.binding, positions, cx.bind(out)?];
        let groups = cx.flat(count);
        cx.dispatch(variant, &[("POSITIONS", flag(op.positions.is_some()))], params, bindings, groups);
    }
    Ok(())
}

pub(super) fn timestep_embedding(
    cx: &mut Context,
    op: &TimestepEmbedding,
    out: ValueId,
) -> Result<(), Error> {
    let half = cx.shape(op.frequencies).numel();
    let a = cx.a();
    let vector = if a == "A_H16" { 4 } else { 1 };
    let variant = cx.pointwise("timestep_embedding", vector)?;
    let count = cx.shape(out).numel().div_ceil(vector);
    let params = timestep_embedding::Params {
        count: count as u32,
        half: half as u32,
        cosine_first: op.cosine_first.into(),
        words: StepRow::WORDS as u32,
        timestep: StepRow::TIMESTEP as u32,
    };
    let bindings = vec![cx.bind(op.table)?, cx.bind(op.frequencies)?, cx.bind(out)?];
    let groups = cx.flat(count);
    cx.dispatch(variant, &[], params, bindings, groups);
    Ok(())
}

pub(super) fn row(cx: &mut Context, op: &Row, out: ValueId) -> Result<(), Error> {
    let c = cx.shape(out).channels();
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("row", vector)?;
    let params = row::Params { width: (c / vector) as u32 };
    let bindings = vec![cx.table(op.table), cx.bind(op.x)?, cx.bind(out)?];
    let groups = cx.flat(c / vector);
    cx.dispatch(variant, &[], params, bindings, groups);
    Ok(())
}

pub(super) fn sampler_step(cx: &mut Context, op: &SamplerStep, out: ValueId) -> Result<(), Error> {
    let output = cx.shape(op.output);
    let images = cx.shape(out).numel();
    let halves = if op.guided { 2 } else { 1 };
    let vector = cx.vector(&[output.channels()]);
    let count = output.numel() / halves / vector;
    let (count32, image) = (count as u32, (count / images) as u32);
    let (model, table, factor) = (cx.bind(op.output)?, cx.table(op.table), cx.bind(out)?);
    if op.guided && op.rescale {
        let storage = [cx.a(), if vector == 4 { "VEC4" } else { "VEC1" }];
        let variant = cx.variant("guidance_spread", &[&storage, sums(cx.caps)].concat())?;
        let params = guidance_spread::Params { count: count32, image };
        let bindings = vec![table.clone(), model.clone(), factor.clone()];
        cx.dispatch(variant, &[], params, bindings, [images as u32, 1, 1]);
    }
    let variant = cx.pointwise("sampler_step", vector)?;
    let overrides = [("GUIDED", flag(op.guided)), ("RESCALE", flag(op.guided && op.rescale))];
    let params = sampler_step::Params { count: count32, image };
    let bindings = vec![table, model, cx.bind(op.noise)?, factor, cx.bind(op.registers)?, cx.bind(op.input)?];
    let groups = cx.flat(count);
    cx.dispatch(variant, &overrides, params, bindings, groups);
    Ok(())
}

pub(super) fn from_latents(cx: &mut Context, op: &FromLatents, out: ValueId) -> Result<(), Error> {
    let c = op.shape.channels();
    let vector = cx.vector(&[c, op.from]);
    let count = op.shape.numel() / vector;
    let variant = cx.pointwise("from_latents", vector)?;
    let params = from_latents::Params {
        count: count as u32,
        begin: (op.from / vector) as u32,
        copies: op.copies as u32,
        scale: op.scale,
        shift: op.shift,
    };
    let bindings = vec![cx.bind(op.latents)?, cx.bind(out)?];
    let groups = cx.flat(count);
    cx.dispatch(variant, &[], params, bindings, groups);
    Ok(())
}

pub(super) fn to_rgba8(cx: &mut Context, op: &ToRgba8, out: ValueId) -> Result<(), Error> {
    let pixels = cx.shape(out).numel();
    let variant = cx.pointwise("to_rgba8", 4)?;
    let band = cx.rows_that_fit(pixels, &[op.x, out]);
    for first in (0..pixels).step_by(band) {
        let count = band.min(pixels - first);
        let x = cx.window(op.x, first * 4..(first + count) * 4)?;
        let y = cx.window(out, first..first + count)?;
        let params = to_rgba8::Params {
            count: count as u32,
            x_base: (first as u32).wrapping_add(x.base(4)),
            y_base: (first as u32).wrapping_add(y.base(1)),
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &[], params, vec![x.binding, y.binding], groups);
    }
    Ok(())
}

pub(super) fn range(cx: &mut Context, op: &Range) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let c = x.channels();
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("range", vector)?;
    let found = cx.bind(op.found)?;
    let band = cx.rows_that_fit(x.rows(), &[op.x]);
    for first in (0..x.rows()).step_by(band) {
        let rows = band.min(x.rows() - first);
        let window = cx.window(op.x, first * c..(first + rows) * c)?;
        let count = rows * c / vector;
        let params = range::Params {
            count: count as u32,
            x_base: ((first * c / vector) as u32).wrapping_add(window.base(vector)),
            slot: op.slot as u32,
        };
        // Each thread looks at many elements, so that few workgroups meet at the counters.
        let groups = [count.div_ceil(64).clamp(1, 256) as u32, 1, 1];
        cx.dispatch(variant, &[], params, vec![window.binding, found.clone()], groups);
    }
    Ok(())
}
