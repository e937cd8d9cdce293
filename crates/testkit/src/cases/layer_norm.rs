use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::LayerNorm;

/// Values with a mean far from zero lose its digits: with mean 30 and spread 1, an f32 mean errs by 30 · 2⁻²⁴, which
/// is 2e-6 of the spread, and the result is some 4 spreads. f16 inputs are the same for both sides.
pub(super) const FAR: Tolerance = Tolerance { f32: 1e-5, f16: 1e-3 };

fn layer(name: &str, [rows, channels]: [usize; 2], mean: f32, tolerance: Tolerance) -> Case {
    Case::new(&format!("layer_norm.{name}"), tolerance, |b| {
        let x = b.input("x", [1, rows, channels], Elem::Float, Fill::Spread { mean, spread: 1.0 });
        let (gamma, beta) = (b.vector("gamma", channels, 1.0), b.vector("beta", channels, 0.0));
        b.op(LayerNorm { x, gamma, beta, eps: 1e-5 });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        layer("unet_320", [1024, 320], 0.1, Tolerance::POINTWISE),
        layer("unet_640", [256, 640], 0.1, Tolerance::POINTWISE),
        layer("unet_1280", [64, 1280], 0.1, Tolerance::POINTWISE),
        layer("clip_768", [77, 768], 0.1, Tolerance::POINTWISE),
        layer("one_channel", [5, 1], 0.1, Tolerance::POINTWISE),
        layer("primes", [31, 37], 0.1, Tolerance::POINTWISE),
        layer("past_a_workgroup", [3, 260], 0.1, Tolerance::POINTWISE),
        layer("one_row", [1, 64], 0.1, Tolerance::POINTWISE),
        layer("far_from_zero", [16, 320], 30.0, FAR),
    ]
}
