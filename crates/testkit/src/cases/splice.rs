use crate::{Case, Tolerance};
use calotype_graph::ops::Splice;

fn splice<const N: usize>(name: &str, shape: [usize; N], first: usize, images: usize) -> Case {
    Case::new(&format!("splice.{name}"), Tolerance::EXACT, |b| {
        let (x, other) = (b.x("x", shape), b.x("other", shape));
        b.op(Splice { x, other, first, images });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        splice("middle", [3, 64, 1280], 1, 1),
        splice("first", [3, 8, 8, 32], 0, 2),
        splice("last", [4, 5, 8], 2, 2),
        splice("none", [2, 5, 8], 1, 0),
        splice("odd", [3, 3, 7], 1, 1),
        splice("one", [1, 1, 1], 0, 1),
    ]
}
