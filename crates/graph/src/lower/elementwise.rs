use super::bind::{Context, flag};
use crate::ops::{Activate, Add, Concat, Geglu, Scale, Upsample};
use crate::{Error, ValueId};
use calotype_shaders::{activation, add, concat, geglu, scale, upsample};

/// Calls `each` with bands of rows that a binding holds, as (first row, rows).
fn bands(
    cx: &mut Context,
    rows: usize,
    values: &[ValueId],
    mut each: impl FnMut(&mut Context, usize, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let band = cx.rows_that_fit(rows, values).max(1);
    for first in (0..rows).step_by(band) {
        each(cx, first, band.min(rows - first))?;
    }
    Ok(())
}

pub(super) fn activate(cx: &mut Context, op: &Activate, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let c = x.channels();
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("activation", vector)?;
    let overrides = [("ACTIVATION", op.activation as u32 as f64)];
    bands(cx, x.rows(), &[op.x, out], |cx, first, rows| {
        let count = rows * c / vector;
        let range = first * c..(first + rows) * c;
        let (x, y) = (cx.window(op.x, range.clone())?, cx.window(out, range)?);
        let at = (first * c / vector) as u32;
        let params = activation::Params {
            count: count as u32,
            x_base: at.wrapping_add(x.base(vector)),
            y_base: at.wrapping_add(y.base(vector)),
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &overrides, params, vec![x.binding, y.binding], groups);
        Ok(())
    })
}

pub(super) fn scale(cx: &mut Context, op: &Scale, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let c = x.channels();
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("scale", vector)?;
    bands(cx, x.rows(), &[op.x, out], |cx, first, rows| {
        let count = rows * c / vector;
        let range = first * c..(first + rows) * c;
        let (x, y) = (cx.window(op.x, range.clone())?, cx.window(out, range)?);
        let at = (first * c / vector) as u32;
        let params = scale::Params {
            count: count as u32,
            x_base: at.wrapping_add(x.base(vector)),
            y_base: at.wrapping_add(y.base(vector)),
            scale: op.scale,
            shift: op.shift,
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &[], params, vec![x.binding, y.binding], groups);
        Ok(())
    })
}

pub(super) fn geglu(cx: &mut Context, op: &Geglu, out: ValueId) -> Result<(), Error> {
    let y = cx.shape(out);
    let c = y.channels();
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("geglu", vector)?;
    let overrides = [("ACTIVATION", op.activation as u32 as f64)];
    bands(cx, y.rows(), &[op.x, out], |cx, first, rows| {
        let count = rows * c / vector;
        let x = cx.window(op.x, 2 * first * c..2 * (first + rows) * c)?;
        let y = cx.window(out, first * c..(first + rows) * c)?;
        let params = geglu::Params {
            count: count as u32,
            width: (c / vector) as u32,
            x_base: ((2 * first * c / vector) as u32).wrapping_add(x.base(vector)),
            y_base: ((first * c / vector) as u32).wrapping_add(y.base(vector)),
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &overrides, params, vec![x.binding, y.binding], groups);
        Ok(())
    })
}

pub(super) fn add(cx: &mut Context, op: &Add, out: ValueId) -> Result<(), Error> {
    let (a, b) = (cx.shape(op.a), cx.shape(op.b));
    let c = a.channels();
    let vector = cx.vector(&[c]);
    let width = c / vector;
    let rowwise = a != b;
    let variant = cx.pointwise("add", vector)?;
    let overrides = [("ROWS", flag(rowwise))];
    let values = if rowwise { vec![op.a, out] } else { vec![op.a, op.b, out] };
    bands(cx, a.rows(), &values, |cx, first, rows| {
        let count = rows * width;
        let range = first * c..(first + rows) * c;
        let (wa, wy) = (cx.window(op.a, range.clone())?, cx.window(out, range.clone())?);
        let (binding, b_base) = if rowwise {
            (cx.bind(op.b)?, 0)
        } else {
            let wb = cx.window(op.b, range)?;
            let base = wb.base(vector);
            (wb.binding, base)
        };
        let params = add::Params {
            count: count as u32,
            first: (first * width) as u32,
            width: width as u32,
            image: (a.rows() / a.dims()[0] * width) as u32,
            row_stride: if rowwise && b.rows() > 1 { width as u32 } else { 0 },
            a_base: wa.base(vector),
            b_base,
            y_base: wy.base(vector),
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &overrides, params, vec![wa.binding, binding, wy.binding], groups);
        Ok(())
    })
}

pub(super) fn concat(cx: &mut Context, op: &Concat, out: ValueId) -> Result<(), Error> {
    let (ca, cb) = (cx.shape(op.a).channels(), cx.shape(op.b).channels());
    let y = cx.shape(out);
    let c = ca + cb;
    let vector = cx.vector(&[ca, cb]);
    let variant = cx.pointwise("concat", vector)?;
    bands(cx, y.rows(), &[op.a, op.b, out], |cx, first, rows| {
        let count = rows * c / vector;
        let end = first + rows;
        let a = cx.window(op.a, first * ca..end * ca)?;
        let b = cx.window(op.b, first * cb..end * cb)?;
        let y = cx.window(out, first * c..end * c)?;
        let params = concat::Params {
            count: count as u32,
            first: (first * c / vector) as u32,
            a_width: (ca / vector) as u32,
            b_width: (cb / vector) as u32,
            a_base: a.base(vector),
            b_base: b.base(vector),
            y_base: y.base(vector),
        };
        let groups = cx.flat(count);
        cx.dispatch(variant, &[], params, vec![a.binding, b.binding, y.binding], groups);
        Ok(())
    })
}

pub(super) fn upsample(cx: &mut Context, op: &Upsample, out: ValueId) -> Result<(), Error> {
    let (x, y) = (cx.shape(op.x), cx.shape(out));
    let [images, height, width, c]: [usize; 4] = x.dims().try_into().expect("checked when added");
    let [out_height, out_width] = op.size;
    let vector = cx.vector(&[c]);
    let variant = cx.pointwise("upsample", vector)?;
    let all = images * out_height;
    let fit = cx.rows_that_fit(all, &[out]);
    for image in 0..images {
        let step = if fit >= all { out_height } else { fit };
        for row in (0..out_height).step_by(step) {
            let rows = step.min(out_height - row);
            let source = |r: usize| image * height + r * height / out_height;
            let from = source(row) * width * c;
            let to = (source(row + rows - 1) + 1) * width * c;
            let first = (image * out_height + row) * out_width * c;
            let count = rows * out_width * c;
            let xw = cx.window(op.x, from..to)?;
            let yw = cx.window(out, first..first + count)?;
            let params = upsample::Params {
                count: (count / vector) as u32,
                first: (first / vector) as u32,
                width4: (c / vector) as u32,
                height: height as u32,
                width: width as u32,
                out_height: out_height as u32,
                out_width: out_width as u32,
                x_base: xw.base(vector),
                y_base: yw.base(vector),
            };
            let groups = cx.flat(count / vector);
            cx.dispatch(variant, &[], params, vec![xw.binding, yw.binding], groups);
        }
    }
    debug_assert_eq!(y.rows(), all * out_width);
    Ok(())
}
