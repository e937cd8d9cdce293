use crate::{Case, Tolerance};
use calotype_graph::Activation;
use calotype_graph::ops::Geglu;

fn geglu<const N: usize>(name: &str, shape: [usize; N], activation: Activation) -> Case {
    let tolerance = if activation == Activation::GeluTanh { Tolerance::TANH } else { Tolerance::POINTWISE };
    Case::new(&format!("geglu.{name}"), tolerance, |b| {
        let x = b.x("x", shape);
        b.op(Geglu { x, activation });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        geglu("unet_320", [1, 256, 2560], Activation::Gelu),
        geglu("unet_1280", [1, 64, 10_240], Activation::Gelu),
        geglu("one", [1, 1, 2], Activation::Gelu),
        geglu("primes", [3, 7, 26], Activation::Gelu),
        geglu("tanh", [3, 7, 24], Activation::GeluTanh),
        geglu("silu", [3, 7, 24], Activation::Silu),
    ]
}
