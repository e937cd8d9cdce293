use crate::{Case, Tolerance};
use calotype_graph::ops::Concat;

fn concat<const N: usize>(name: &str, shape: [usize; N], channels: usize) -> Case {
    Case::new(&format!("concat.{name}"), Tolerance::EXACT, |b| {
        let mut other = shape;
        other[N - 1] = channels;
        let (a, c) = (b.x("a", shape), b.x("b", other));
        b.op(Concat { a, b: c });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        concat("unet_640", [2, 16, 16, 320], 320),
        concat("unet_1920", [1, 8, 8, 1280], 640),
        concat("one", [1, 1, 1, 1], 1),
        concat("odd", [2, 3, 5, 7], 4),
        concat("odd_both", [2, 3, 5, 7], 3),
        concat("rows", [7, 8], 12),
    ]
}
