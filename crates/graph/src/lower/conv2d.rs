use super::bind::{Context, flag};
use super::gemm::{Half, launch};
use crate::ops::Conv2d;
use crate::{Error, ValueId};
use calotype_shaders::{conv2d, conv2d_naive};

pub(super) fn lower(cx: &mut Context, op: &Conv2d, out: ValueId) -> Result<(), Error> {
    let (x, y, k) = (cx.shape(op.x), cx.shape(out), cx.shape(op.weight).dims()[0]);
    let [images, height, width, channels]: [usize; 4] = x.dims().try_into().expect("checked when added");
    let [_, out_height, out_width, n]: [usize; 4] = y.dims().try_into().expect("checked when added");
    let [virtual_height, virtual_width] = op.virtual_size(x);
    let vector = cx.vector(&[channels, n]);
    let (a, w) = (cx.a(), cx.w(op.weight));
    let product = cx.product();
    let operand_overrides = vec![("UPSAMPLE", flag(op.upsample.is_some()))];
    let result_overrides = vec![
        ("ACTIVATION", op.activation as u32 as f64),
        ("BIAS", flag(op.bias.is_some())),
        ("RESIDUAL", flag(op.residual.is_some())),
        ("IMAGE_BIAS", flag(op.image_bias.is_some())),
    ];
    let weight = cx.bind(op.weight)?;
    let bias = cx.bind_or(op.bias, &weight)?;
    let (image_bias, image_bias_stride, image_bias_base) = match op.image_bias {
        Some(b) => {
            let (binding, stride, from) = cx.columns(b)?;
            (binding, if cx.shape(b).rows() > 1 { stride / vector } else { 0 }, from / vector)
        }
        None => (weight.clone(), 0, 0),
    };
    // All rows of all images at once where a binding holds them, else bands of an image's rows.
    let mut values = vec![op.x, out];
    values.extend(op.residual);
    let all = images * out_height;
    let fit = cx.rows_that_fit(all, &values);
    let bands: Vec<(usize, usize)> = if fit >= all {
        vec![(0, all)]
    } else {
        // A band reads some rows more than it writes.
        let fit = fit.saturating_sub(op.kernel[0]).max(1);
        (0..images)
            .flat_map(|i| {
                (0..out_height).step_by(fit).map(move |r| (i * out_height + r, fit.min(out_height - r)))
            })
            .collect()
    };
    for (first, rows) in bands {
        let m = rows * out_width;
        let m_base = first * out_width;
        let (from, to) = if rows == all {
            (0, images * height)
        } else {
            let image = first / out_height;
            let row = first % out_height;
            let source = |r: usize| if op.upsample.is_some() { r * height / virtual_height } else { r };
            let top = source((row * op.stride).saturating_sub(op.padding.top).min(virtual_height - 1));
            let end = (row + rows - 1) * op.stride + op.kernel[0];
            let bottom = source(end.saturating_sub(op.padding.top + 1).min(virtual_height - 1)) + 1;
            (image * height + top, image * height + bottom)
        };
        let x = cx.window(op.x, from * width * channels..to * width * channels)?;
        let y = cx.window(out, m_base * n..(m_base + m) * n)?;
        let residual = op.residual.map(|r| cx.window(r, m_base * n..(m_base + m) * n)).transpose()?;
        let params = conv2d::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            k_slice: product.map_or(k, |(_, cut)| cut.slice(k)) as u32,
            m_base: m_base as u32,
            x_base: x.base(vector),
            residual_base: residual.as_ref().map_or(0, |r| r.base(vector)),
            y_base: y.base(vector),
            channels: channels as u32,
            height: height as u32,
            width: width as u32,
            virtual_height: virtual_height as u32,
            virtual_width: virtual_width as u32,
            out_height: out_height as u32,
            out_width: out_width as u32,
            kernel_width: op.kernel[1] as u32,
            stride: op.stride as u32,
            pad_top: op.padding.top as u32,
            pad_left: op.padding.left as u32,
            image_bias_stride: image_bias_stride as u32,
            image_bias_base: image_bias_base as u32,
        };
        let residual = residual.map_or_else(|| weight.clone(), |r| r.binding);
        let operands = vec![x.binding, weight.clone()];
        let results = vec![bias.clone(), image_bias.clone(), residual, y.binding];
        if let Some((product, cut)) = &product {
            let halves = [
                Half { bindings: operands, overrides: operand_overrides.clone() },
                Half { bindings: results, overrides: result_overrides.clone() },
            ];
            launch(cx, (product, cut), m, params, halves)?;
        } else {
            let variant = cx.variant("conv2d_naive", &[a, w, "VEC1"])?;
            let params: conv2d_naive::Params = bytemuck::cast(params);
            let groups = cx.flat(m * n);
            let overrides = [&operand_overrides[..], &result_overrides].concat();
            cx.dispatch(variant, &overrides, params, [operands, results].concat(), groups);
        }
    }
    Ok(())
}
