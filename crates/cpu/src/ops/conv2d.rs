use super::epilogue::{Epilogue, ImageBias};
use crate::product::{Matrix, Threads, product};
use crate::values::Values;
use calotype_graph::ops::{Conv2d, Operation, Shapes};
use rayon::prelude::*;

/// Words of gathered input at a time (16 MiB): enough rows that the weights, read once a block, cost little.
const BLOCK: usize = 4 << 20;

/// A block's taps.
pub(super) fn scratch(op: &Conv2d, shapes: &dyn Shapes) -> Vec<usize> {
    let (Ok((out, _)), k) = (op.infer(shapes), shapes.shape(op.weight).dims()[0]) else { return Vec::new() };
    let gathers = k > 0 && !Gather::new(op, shapes.shape(op.x).dims(), out.dims()).is_identity();
    gathers.then(|| block(k, out.rows()).saturating_mul(k)).into_iter().collect()
}

/// Rows of a block.
fn block(k: usize, rows: usize) -> usize {
    (BLOCK / k).clamp(1, rows.max(1))
}

/// `activation(conv(x) + bias + image_bias) + residual`: output pixels are rows, whose taps are gathered side by
/// side and multiplied by the weight, a block of rows at a time.
pub(super) fn run(op: &Conv2d, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (out, _) = op.infer(values)?;
    let (x, weight) = (values.get(op.x), values.get(op.weight));
    let [bias, residual] = [op.bias, op.residual].map(|v| v.map(|v| values.get(v)));
    let [bias, residual] = [&bias, &residual].map(|v| v.as_ref().map(|v| v.read()));
    let rows = op.image_bias.map(|v| values.columns(v));
    let rows = rows.as_ref().map(|(held, stride, from)| (held.read(), *stride, *from));
    let (x, weight) = (&x.read()[..], &weight.read()[..]);
    let shape = values.shape(op.weight);
    let (k, n) = (shape.dims()[0], shape.dims()[1]);
    let pixels = out.dims()[1] * out.dims()[2];
    let shared = op.image_bias.is_some_and(|v| values.shape(v).rows() == 1);
    let image_bias = rows.as_ref().map(|(held, stride, from)| ImageBias {
        values: &held[*from..],
        stride: if shared { 0 } else { *stride },
        rows: pixels,
    });
    let epilogue = Epilogue {
        bias: bias.as_deref(),
        image_bias,
        activation: op.activation,
        residual: residual.as_deref(),
    };
    let weight = Matrix::new(weight, k, n, n);
    if k == 0 || n == 0 {
        return Ok(());
    }

    let gather = Gather::new(op, values.shape(op.x).dims(), out.dims());
    if gather.is_identity() {
        product(y, 1.0, Matrix::new(x, out.rows(), k, k), weight, Threads::All);
        epilogue.apply(y, 0, n);
        return Ok(());
    }
    let block = block(k, out.rows());
    let scratch = values.scratch(block * k)?;
    for (i, y) in y.chunks_mut(block * n).enumerate() {
        let rows = y.len() / n;
        let taps = &mut scratch[..rows * k];
        taps.par_chunks_mut(k).enumerate().for_each(|(row, taps)| gather.row(x, i * block + row, taps));
        product(y, 1.0, Matrix::new(taps, rows, k, k), weight, Threads::All);
        epilogue.apply(y, i * block, n);
    }
    Ok(())
}

/// How a row of taps is gathered (im2col; Chellapilla et al. 2006).
struct Gather<'a> {
    op: &'a Conv2d,
    /// `[B, H, W, C]`.
    x: [usize; 4],
    /// The input as the taps see it.
    seen: [usize; 2],
    /// Output height and width.
    out: [usize; 2],
}

impl<'a> Gather<'a> {
    fn new(op: &'a Conv2d, x: &[usize], out: &[usize]) -> Self {
        let seen = op.upsample.unwrap_or([x[1], x[2]]);
        Self { op, x: [x[0], x[1], x[2], x[3]], seen, out: [out[1], out[2]] }
    }

    /// Whether every row is a pixel of the input as it stands.
    fn is_identity(&self) -> bool {
        self.op.kernel == [1, 1]
            && self.out == [self.x[1], self.x[2]]
            && self.seen == self.out
            && self.op.stride == 1
    }

    /// The taps of output pixel `row`: `[KH, KW, C]`, zeros where they lie off the picture.
    fn row(&self, x: &[f32], row: usize, taps: &mut [f32]) {
        let [_, height, width, channels] = self.x;
        let [out_height, out_width] = self.out;
        let (image, oy, ox) = (row / out_width / out_height, row / out_width % out_height, row % out_width);
        let [kernel_height, kernel_width] = self.op.kernel;
        let mut taps = taps.chunks_exact_mut(channels);
        for ky in 0..kernel_height {
            let iy =
                (oy * self.op.stride + ky).checked_sub(self.op.padding.top).filter(|&iy| iy < self.seen[0]);
            for kx in 0..kernel_width {
                let ix = (ox * self.op.stride + kx).checked_sub(self.op.padding.left);
                let ix = ix.filter(|&ix| ix < self.seen[1]);
                let tap = taps.next().expect("a row has a place for every tap");
                let (Some(iy), Some(ix)) = (iy, ix) else {
                    tap.fill(0.0);
                    continue;
                };
                let (iy, ix) = (iy * height / self.seen[0], ix * width / self.seen[1]);
                tap.copy_from_slice(&x[((image * height + iy) * width + ix) * channels..][..channels]);
            }
        }
    }
}
