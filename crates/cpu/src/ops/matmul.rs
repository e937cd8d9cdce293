use super::epilogue::Epilogue;
use crate::product::{Matrix, Threads, product};
use crate::program::Values;
use calotype_graph::ops::{Matmul, Shapes};

/// `activation(x · weight + bias) + residual`.
pub(super) fn run(op: &Matmul, values: &Values<'_>, y: &mut [f32]) {
    let (x, weight) = (values.get(op.x), values.get(op.weight));
    let (bias, residual) = (op.bias.map(|v| values.get(v)), op.residual.map(|v| values.get(v)));
    let (bias, residual) = (bias.as_ref().map(|v| v.read()), residual.as_ref().map(|v| v.read()));
    let (m, shape) = (values.shape(op.x).rows(), values.shape(op.weight));
    let (k, n) = (shape.dims()[0], shape.dims()[1]);
    let (x, weight) = (x.read(), weight.read());
    product(y, 1.0, Matrix::new(&x, m, k, k), Matrix::new(&weight, k, n, n), Threads::All);
    let (bias, residual) = (bias.as_deref(), residual.as_deref());
    Epilogue { bias, image_bias: None, activation: op.activation, residual }.apply(y, 0, n);
}
