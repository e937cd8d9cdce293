use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::Embedding;
use calotype_tensor::DType;

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
        embedding("clip", [2, 77], [49_408, 768], 77),
        embedding("no_positions", [1, 9], [64, 32], 0),
        embedding("more_positions", [3, 5], [64, 32], 8),
        embedding("odd", [3, 5], [13, 7], 5),
        embedding("one", [1, 1], [1, 1], 1),
    ]
}
