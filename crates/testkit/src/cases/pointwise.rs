use crate::{Case, Fill, Tolerance};
use calotype_graph::ops::{Activate, Add, Geglu, Scale};
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

fn geglu<const N: usize>(name: &str, shape: [usize; N], activation: Activation) -> Case {
    let tolerance = if activation == Activation::GeluTanh { Tolerance::TANH } else { Tolerance::POINTWISE };
    Case::new(&format!("geglu.{name}"), tolerance, |b| {
        let x = b.x("x", shape);
        b.op(Geglu { x, activation });
    })
}

fn add<const N: usize, const M: usize>(name: &str, a: [usize; N], c: [usize; M]) -> Case {
    Case::new(&format!("add.{name}"), Tolerance::POINTWISE, |b| {
        let (a, c) = (b.x("a", a), b.x("b", c));
        b.op(Add { a, b: c });
    })
}

fn scale<const N: usize>(name: &str, shape: [usize; N], scale: f32, shift: f32) -> Case {
    Case::new(&format!("scale.{name}"), Tolerance::POINTWISE, |b| {
        let x = b.x("x", shape);
        b.op(Scale { x, scale, shift });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        geglu("unet_320", [1, 256, 2560], Activation::Gelu),
        geglu("unet_1280", [1, 64, 10_240], Activation::Gelu),
        geglu("one", [1, 1, 2], Activation::Gelu),
        geglu("primes", [3, 7, 26], Activation::Gelu),
        geglu("tanh", [3, 7, 24], Activation::GeluTanh),
        geglu("silu", [3, 7, 24], Activation::Silu),
        add("same", [2, 16, 16, 320], [2, 16, 16, 320]),
        add("same_odd", [1, 3, 5, 7], [1, 3, 5, 7]),
        add("row_an_image", [3, 5, 7, 64], [3, 64]),
        add("row_an_image_odd", [3, 5, 7, 13], [3, 13]),
        add("one_row", [3, 5, 7, 64], [1, 64]),
        add("vector", [3, 5, 7, 64], [64]),
        add("one", [1, 1], [1, 1]),
        scale("half", [1, 16, 16, 320], 0.5, 0.0),
        scale("and_shift", [2, 3, 5, 8], -1.5, 0.25),
        scale("odd", [2, 3, 5, 7], 1.0 / 0.18215, -0.5),
        scale("one", [1, 1], 2.0, 1.0),
    ];
    for (name, function) in ACTIVATIONS {
        all.push(activation(name, [2, 9, 9, 32], function, 2.0));
        all.push(activation(&format!("{name}_odd"), [1, 5, 5, 7], function, 2.0));
        // Where exponentials overflow and functions are flat.
        all.push(activation(&format!("{name}_wide"), [1, 16, 16, 16], function, 60.0));
    }
    all
}
