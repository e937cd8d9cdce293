use crate::{Case, Tolerance};
use calotype_graph::ops::Add;

fn add<const N: usize, const M: usize>(name: &str, a: [usize; N], c: [usize; M]) -> Case {
    Case::new(&format!("add.{name}"), Tolerance::POINTWISE, |b| {
        let (a, c) = (b.x("a", a), b.x("b", c));
        b.op(Add { a, b: c });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        add("same", [2, 16, 16, 320], [2, 16, 16, 320]),
        add("same_odd", [1, 3, 5, 7], [1, 3, 5, 7]),
        add("row_an_image", [3, 5, 7, 64], [3, 64]),
        add("row_an_image_odd", [3, 5, 7, 13], [3, 13]),
        add("one_row", [3, 5, 7, 64], [1, 64]),
        add("vector", [3, 5, 7, 64], [64]),
        add("one", [1, 1], [1, 1]),
    ]
}
