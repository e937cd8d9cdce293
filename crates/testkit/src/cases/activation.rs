use crate::{Case, Fill, Tolerance};
use calotype_graph::ops::Activate;
use calotype_graph::{Activation, Elem};

const ACTIVATIONS: [(&str, Activation); 7] = [
    ("none", Activation::None),
    ("silu", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("mish", Activation::Mish),
];

fn tolerance(activation: Activation) -> Tolerance {
    match activation {
        Activation::None | Activation::Relu => Tolerance::EXACT,
        Activation::GeluTanh | Activation::Mish => Tolerance::TANH,
        _ => Tolerance::POINTWISE,
    }
}

fn activation<const N: usize>(name: &str, shape: [usize; N], activation: Activation, spread: f32) -> Case {
    Case::new(&format!("activation.{name}"), tolerance(activation), |b| {
        let x = b.input("x", shape, Elem::Float, Fill::Spread { mean: 0.0, spread });
        b.op(Activate { x, activation });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, function) in ACTIVATIONS {
        all.push(activation(name, [2, 9, 9, 32], function, 2.0));
        all.push(activation(&format!("{name}_odd"), [1, 5, 5, 7], function, 2.0));
        // Where exponentials overflow and functions are flat.
        all.push(activation(&format!("{name}_wide"), [1, 16, 16, 16], function, 60.0));
    }
    all
}
