use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::ToRgba8;
use calotype_tensor::HostTensor;

fn to_rgba8<const N: usize>(name: &str, shape: [usize; N], fill: Fill, truncate: bool) -> Case {
    // A value half-way between two bytes may fall to either side.
    let tolerance = Tolerance { f32: 1.0 / 255.0, f16: 1.0 / 255.0 };
    Case::new(&format!("to_rgba8.{name}"), tolerance, |b| {
        let x = b.input("x", shape, Elem::Float, fill);
        b.op(ToRgba8 { x, truncate });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let spread = [-3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0];
    let spread = Fill::Given(HostTensor::from_f32([1, 1, 2, 4], &spread));
    vec![
        to_rgba8("picture", [2, 33, 47, 4], Fill::Spread { mean: 0.0, spread: 0.6 }, false),
        to_rgba8("truncated", [2, 33, 47, 4], Fill::Spread { mean: 0.0, spread: 0.6 }, true),
        to_rgba8("clipped", [1, 1, 2, 4], spread, false),
    ]
}
