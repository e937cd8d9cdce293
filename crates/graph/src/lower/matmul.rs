use super::bind::{Context, flag};
use super::tiles::tile;
use crate::ops::Matmul;
use crate::{Error, ValueId};
use calotype_shaders::{matmul, matmul_naive};

pub(super) fn lower(cx: &mut Context, op: &Matmul, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let (rows, k, n) = (x.rows(), x.channels(), cx.shape(op.weight).channels());
    let width = cx.shape(out).channels(); // n, or half of it where gated
    let vector = cx.vector(&[k, n]);
    let (a, w) = (cx.a(), cx.w(op.weight));
    let tile = tile(cx.caps, "matmul", a, w, rows, n);
    let variant = if vector == 4 {
        let defines: Vec<&str> = [a, w].iter().chain(tile.defines).copied().collect();
        cx.variant("matmul", &defines)?
    } else {
        cx.variant("matmul_naive", &[a, w, "VEC1"])?
    };
    let overrides = [
        ("ACTIVATION", op.activation as u32 as f64),
        ("BIAS", flag(op.bias.is_some())),
        ("RESIDUAL", flag(op.residual.is_some())),
        ("GATED", flag(op.gated)),
    ];
    let weight = cx.bind(op.weight)?;
    let bias = cx.bind_or(op.bias, &weight)?;
    let mut values = vec![op.x, out];
    values.extend(op.residual);
    let band = cx.rows_that_fit(rows, &values);
    for first in (0..rows).step_by(band.max(1)) {
        let m = band.min(rows - first);
        let x = cx.window(op.x, first * k..(first + m) * k)?;
        let y = cx.window(out, first * width..(first + m) * width)?;
        let residual = op.residual.map(|r| cx.window(r, first * width..(first + m) * width)).transpose()?;
        let params = matmul::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            m_base: first as u32,
            x_base: x.base(vector),
            residual_base: residual.as_ref().map_or(0, |r| r.base(vector)),
            y_base: y.base(vector),
            y_width: (width / vector) as u32,
        };
        let residual = residual.map_or_else(|| weight.clone(), |r| r.binding);
        let bindings = vec![x.binding, weight.clone(), bias.clone(), residual, y.binding];
        if vector == 4 {
            let groups = [n.div_ceil(tile.columns) as u32, m.div_ceil(tile.rows) as u32, 1];
            cx.dispatch(variant, &overrides, params, bindings, groups);
        } else {
            let params: matmul_naive::Params = bytemuck::cast(params);
            let groups = cx.flat(m * n);
            cx.dispatch(variant, &overrides, params, bindings, groups);
        }
    }
    Ok(())
}
