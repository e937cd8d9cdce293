use super::{GRAIN, exp::exp};
use crate::values::Values;
use calotype_graph::Activation;
use calotype_graph::ops::Activate;
use rayon::prelude::*;

/// `activation(x)`.
pub(super) fn run(op: &Activate, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    y.copy_from_slice(&values.get(op.x).read());
    y.par_chunks_mut(GRAIN).for_each(|y| apply(op.activation, y));
    Ok(())
}

/// Applies an activation in place.
pub(super) fn apply(activation: Activation, y: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Silu => map(y, |x| x * sigmoid(x)),
        Activation::Gelu => map(y, |x| 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))),
        Activation::GeluTanh => map(y, gelu_tanh),
        Activation::QuickGelu => map(y, |x| x * sigmoid(1.702 * x)),
        Activation::Relu => map(y, |x| x.max(0.0)),
        // Past 20, ln(1 + eˣ) is x in f32; eˣ itself would overflow later on.
        Activation::Mish => map(y, |x| x * (if x > 20.0 { x } else { x.exp().ln_1p() }).tanh()),
    }
}

fn map(y: &mut [f32], f: impl Fn(f32) -> f32) {
    y.iter_mut().for_each(|y| *y = f(*y));
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

fn gelu_tanh(x: f32) -> f32 {
    let root = (2.0 / std::f32::consts::PI).sqrt();
    0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh())
}
