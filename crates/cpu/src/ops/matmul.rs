use super::activation;
use super::concat::{self, joined};
use super::epilogue::{Epilogue, add};
use super::layer_norm::normalise;
use crate::product::{Matrix, Threads, product};
use crate::values::Values;
use calotype_graph::ops::{Matmul, Shapes};
use rayon::prelude::*;

/// What is put side by side, what is normalised, values and gates.
pub(super) fn scratch(op: &Matmul, shapes: &dyn Shapes) -> Vec<usize> {
    let (m, weight) = (shapes.shape(op.x).rows(), shapes.shape(op.weight));
    let joined = concat::scratch(op.x, op.beside, shapes);
    let normed = op.norm.as_ref().map(|_| m.saturating_mul(weight.dims()[0]));
    let both = op.gated.then(|| m.saturating_mul(weight.dims()[1]));
    [joined, normed, both].into_iter().flatten().collect()
}

/// `activation(x · weight + bias) + residual`, or `values · activation(gates) + residual`, x normalised first where it is
/// asked for. Moments are the GPU's affair: a norm finds its own here.
pub(super) fn run(op: &Matmul, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (x, weight) = (joined(values, op.x, op.beside)?, values.get(op.weight));
    let (bias, residual) = (op.bias.map(|v| values.get(v)), op.residual.map(|v| values.get(v)));
    let (bias, residual) = (bias.as_ref().map(|v| v.read()), residual.as_ref().map(|v| v.read()));
    let (m, shape) = (values.shape(op.x).rows(), values.shape(op.weight));
    let (k, n) = (shape.dims()[0], shape.dims()[1]);
    let weight = weight.read();
    let mut normed = op.norm.as_ref().map(|_| values.scratch(m * k)).transpose()?;
    if let (Some(norm), Some(y)) = (&op.norm, &mut normed) {
        let (gamma, beta) = (values.get(norm.gamma), values.get(norm.beta));
        normalise(&x, &gamma.read(), &beta.read(), norm.eps, y);
    }
    let x = normed.as_deref().unwrap_or(&x);
    let (bias, residual) = (bias.as_deref(), residual.as_deref());
    let multiply = |y: &mut [f32]| {
        product(y, 1.0, Matrix::new(x, m, k, k), Matrix::new(&weight, k, n, n), Threads::All);
    };
    if !op.gated {
        multiply(y);
        Epilogue { bias, image_bias: None, activation: op.activation, residual }.apply(y, 0, n);
        return Ok(());
    }
    let both = values.scratch(m * n)?;
    multiply(both);
    Epilogue { bias, ..Epilogue::default() }.apply(both, 0, n);
    let width = n / 2;
    y.par_chunks_mut(width.max(1)).zip(both.par_chunks(n.max(1))).enumerate().for_each(|(row, (y, both))| {
        // Of every eight columns the first four are values, the others their gates.
        let (eights, _) = both.as_chunks::<8>();
        let (fours, _) = y.as_chunks_mut::<4>();
        fours.iter_mut().zip(eights).for_each(|(y, both)| y.copy_from_slice(&both[4..]));
        activation::apply(op.activation, y);
        let (fours, _) = y.as_chunks_mut::<4>();
        fours.iter_mut().zip(eights).for_each(|(y, both)| y.iter_mut().zip(both).for_each(|(y, v)| *y *= v));
        if let Some(residual) = residual {
            add(y, &residual[row * width..][..width]);
        }
    });
    Ok(())
}
