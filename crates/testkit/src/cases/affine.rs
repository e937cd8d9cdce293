use crate::{Case, Fill, Tolerance};
use calotype_graph::ops::Affine;
use calotype_graph::{Activation, Elem};

fn affine<const N: usize>(name: &str, shape: [usize; N], activation: Activation) -> Case {
    Case::new(&format!("affine.{name}"), Tolerance::POINTWISE, |b| {
        let x = b.x("x", shape);
        let terms = [shape[0], 2, shape[N - 1]];
        let terms = b.input("terms", terms, Elem::F32, Fill::Spread { mean: 0.5, spread: 1.0 });
        b.op(Affine { x, terms, activation });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let silu = Activation::Silu;
    vec![
        affine("vae", [1, 18, 64, 128], silu),
        affine("images", [3, 7, 5, 32], Activation::None),
        affine("odd_channels", [2, 3, 5, 7], silu),
        affine("one", [1, 1], Activation::None),
    ]
}
