use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::Range;
use calotype_tensor::HostTensor;

fn range<const N: usize>(name: &str, shape: [usize; N], fill: Fill) -> Case {
    Case::new(&format!("range.{name}"), Tolerance::EXACT, |b| {
        let x = b.input("x", shape, Elem::Float, fill);
        let clear = HostTensor::from_u32([3, 4], &[Range::CLEAR; 3].concat());
        let found = b.input("found", [3, 4], Elem::U32, Fill::Given(clear));
        b.push(Range { x, found, slot: 1 });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let bell = Fill::Spread { mean: 0.0, spread: 1.0 };
    let damaged =
        [0.5, f32::NAN, -3.0, f32::INFINITY, 0.0, -0.25, f32::NEG_INFINITY, 7.0, f32::NAN, 1e-3, -1e-3, 2.0];
    let damaged = Fill::Given(HostTensor::from_f32([3, 4], &damaged));
    vec![
        range("unet", [2, 32, 32, 320], bell.clone()),
        range("odd", [1, 3, 5, 7], bell.clone()),
        range("one", [1, 1], bell),
        range("damaged", [3, 4], damaged),
        range("all_negative", [2, 7, 8], Fill::Spread { mean: -20.0, spread: 1.0 }),
    ]
}
