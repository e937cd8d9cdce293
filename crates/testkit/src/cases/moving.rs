use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::{Concat, Embedding, Upsample};
use calotype_tensor::DType;

fn concat<const N: usize>(name: &str, shape: [usize; N], channels: usize) -> Case {
    Case::new(&format!("concat.{name}"), Tolerance::EXACT, |b| {
        let mut other = shape;
        other[N - 1] = channels;
        let (a, c) = (b.x("a", shape), b.x("b", other));
        b.op(Concat { a, b: c });
    })
}

fn upsample(name: &str, shape: [usize; 4], size: [usize; 2]) -> Case {
    Case::new(&format!("upsample.{name}"), Tolerance::EXACT, |b| {
        let x = b.x("x", shape);
        b.op(Upsample { x, size });
    })
}

fn embedding(
    name: &str,
    [batch, tokens]: [usize; 2],
    [rows, channels]: [usize; 2],
    positions: usize,
) -> Case {
    Case::new(&format!("embedding.{name}"), Tolerance::POINTWISE, |b| {
        let ids = b.input("ids", [batch, tokens], Elem::U32, Fill::Ids(rows as u32));
        let table = b.table("table", rows, channels);
        let positions = (positions > 0).then(|| b.table("positions", positions, channels));
        b.op(Embedding { ids, table, positions });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut stored = embedding("f16_weights", [2, 77], [1000, 64], 77);
    stored.weights = DType::F16;
    vec![
        stored,
        concat("unet_640", [2, 16, 16, 320], 320),
        concat("unet_1920", [1, 8, 8, 1280], 640),
        concat("one", [1, 1, 1, 1], 1),
        concat("odd", [2, 3, 5, 7], 4),
        concat("odd_both", [2, 3, 5, 7], 3),
        concat("rows", [7, 8], 12),
        upsample("double", [2, 8, 8, 64], [16, 16]),
        upsample("double_odd", [1, 5, 7, 9], [10, 14]),
        upsample("to_odd", [1, 5, 13, 16], [9, 25]),
        upsample("by_a_part", [2, 5, 7, 8], [8, 9]),
        upsample("down", [1, 9, 7, 8], [4, 3]),
        upsample("from_one", [1, 1, 1, 4], [3, 5]),
        embedding("clip", [2, 77], [49_408, 768], 77),
        embedding("no_positions", [1, 9], [64, 32], 0),
        embedding("more_positions", [3, 5], [64, 32], 8),
        embedding("odd", [3, 5], [13, 7], 5),
        embedding("one", [1, 1], [1, 1], 1),
    ]
}
