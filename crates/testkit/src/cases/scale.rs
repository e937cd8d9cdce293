use crate::{Case, Tolerance};
use calotype_graph::ops::Scale;

fn scale<const N: usize>(name: &str, shape: [usize; N], scale: f32, shift: f32) -> Case {
    Case::new(&format!("scale.{name}"), Tolerance::POINTWISE, |b| {
        let x = b.x("x", shape);
        b.op(Scale { x, scale, shift });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        scale("half", [1, 16, 16, 320], 0.5, 0.0),
        scale("and_shift", [2, 3, 5, 8], -1.5, 0.25),
        scale("odd", [2, 3, 5, 7], 1.0 / 0.18215, -0.5),
        scale("one", [1, 1], 2.0, 1.0),
    ]
}
