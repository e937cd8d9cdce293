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
    with_added(name, [batch, tokens], [rows, channels], positions, 0)
}

fn with_added(
    name: &str,
    [batch, tokens]: [usize; 2],
    [rows, channels]: [usize; 2],
    positions: usize,
    added: usize,
) -> Case {
    Case::new(&format!("embedding.{name}"), Tolerance::POINTWISE, |b| {
        let ids = b.input("ids", [batch, tokens], Elem::U32, Fill::Ids((rows + added) as u32));
        let table = b.table("table", rows, channels);
        let positions = (positions > 0).then(|| b.table("positions", positions, channels));
        let added = (added > 0).then(|| b.x("added", [added, channels]));
        b.op(Embedding { ids, table, added, positions });
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
        with_added("added", [2, 77], [40, 64], 77, 75),
        with_added("added_odd", [3, 5], [3, 7], 5, 9),
        embedding("one", [1, 1], [1, 1], 1),
    ]
}
