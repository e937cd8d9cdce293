use super::bind::{Context, flag};
use super::gemm::{Half, launch};
use crate::ops::Matmul;
use crate::{Error, ValueId};
use calotype_shaders::{matmul, matmul_naive};

pub(super) fn lower(cx: &mut Context, op: &Matmul, out: ValueId) -> Result<(), Error> {
    let x = cx.shape(op.x);
    let (k, n) = (cx.shape(op.weight).dims()[0], cx.shape(op.weight).channels());
    let (rows, x_width) = (x.rows(), x.channels());
    let width = cx.shape(out).channels(); // n, or half of it where gated
    let vector = cx.vector(&[k, n]);
    let (a, w) = (cx.a(), cx.w(op.weight));
    let product = cx.product();
    let operand_overrides = vec![("BESIDE", flag(op.beside.is_some()))];
    let result_overrides = vec![
        ("ACTIVATION", op.activation as u32 as f64),
        ("BIAS", flag(op.bias.is_some())),
        ("RESIDUAL", flag(op.residual.is_some())),
        ("GATED", flag(op.gated)),
    ];
    let weight = cx.bind(op.weight)?;
    let bias = cx.bind_or(op.bias, &weight)?;
    let mut values = vec![op.x, out];
    values.extend(op.residual);
    values.extend(op.beside);
    let band = cx.rows_that_fit(rows, &values);
    for first in (0..rows).step_by(band.max(1)) {
        let m = band.min(rows - first);
        let x = cx.window(op.x, first * x_width..(first + m) * x_width)?;
        let beside_width = k - x_width;
        let rest = first * beside_width..(first + m) * beside_width;
        let beside = op.beside.map(|b| cx.window(b, rest)).transpose()?;
        let y = cx.window(out, first * width..(first + m) * width)?;
        let residual = op.residual.map(|r| cx.window(r, first * width..(first + m) * width)).transpose()?;
        let params = matmul::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            k_slice: product.map_or(k, |(_, cut)| cut.slice(k)) as u32,
            m_base: first as u32,
            x_base: x.base(vector),
            residual_base: residual.as_ref().map_or(0, |r| r.base(vector)),
            y_base: y.base(vector),
            y_width: (width / vector) as u32,
            x_width: (x_width / vector) as u32,
            beside_base: beside.as_ref().map_or(0, |b| b.base(vector)),
            eps: op.norm.as_ref().map_or(0.0, |n| n.eps),
        };
        let residual = residual.map_or_else(|| weight.clone(), |r| r.binding);
        let mut operands = vec![x.binding, weight.clone()];
        let mut results = vec![bias.clone(), residual, y.binding];
        if let Some((product, cut)) = &product {
            match &op.norm {
                Some(norm) => operands.extend([cx.bind(norm.gamma)?, cx.bind(norm.beta)?, cx.moments(op.x)?]),
                None => operands.push(beside.map_or_else(|| weight.clone(), |b| b.binding)),
            }
            if op.moments {
                results.push(cx.moments(out)?);
            }
            let halves = [
                Half { bindings: operands, overrides: operand_overrides.clone() },
                Half { bindings: results, overrides: result_overrides.clone() },
            ];
            launch(cx, (product, cut), m, params, halves)?;
        } else {
            let variant = cx.variant("matmul_naive", &[a, w, "VEC1"])?;
            let params: matmul_naive::Params = bytemuck::cast(params);
            let groups = cx.flat(m * n);
            cx.dispatch(variant, &result_overrides, params, [operands, results].concat(), groups);
        }
    }
    Ok(())
}
