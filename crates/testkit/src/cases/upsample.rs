use crate::{Case, Tolerance};
use calotype_graph::ops::Upsample;

fn upsample(name: &str, shape: [usize; 4], size: [usize; 2]) -> Case {
    Case::new(&format!("upsample.{name}"), Tolerance::EXACT, |b| {
        let x = b.x("x", shape);
        b.op(Upsample { x, size });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        upsample("double", [2, 8, 8, 64], [16, 16]),
        upsample("double_odd", [1, 5, 7, 9], [10, 14]),
        upsample("to_odd", [1, 5, 13, 16], [9, 25]),
        upsample("by_a_part", [2, 5, 7, 8], [8, 9]),
        upsample("down", [1, 9, 7, 8], [4, 3]),
        upsample("from_one", [1, 1, 1, 4], [3, 5]),
    ]
}
