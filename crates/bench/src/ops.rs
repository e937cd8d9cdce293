//! From launches to distinct ops.

use crate::record::{OpRow, StageOps};
use crate::stats::Samples;
use calotype::Span;
use calotype::measure::{Ceilings, StageProfile};
use std::collections::BTreeMap;

/// What nodes have in common that do the same work: the op, its shapes, its kernels.
type Key<'a> = (&'a str, &'a str, Vec<&'a str>);

/// A stage's launches by distinct op; `times` is how often a batch runs it.
pub fn stage(profile: &StageProfile, ceilings: &Ceilings, times: usize) -> StageOps {
    let first = profile.runs.first().map(Vec::as_slice).unwrap_or_default();
    // A node's kernels, in order, and then the nodes that have the same.
    let mut kernels: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for span in first {
        kernels.entry(span.node).or_default().push(&span.kernel);
    }
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (node, kernels) in kernels {
        let work = &profile.nodes[node];
        groups.entry((work.op, work.shapes.as_str(), kernels)).or_default().push(node);
    }
    let seconds = |spans: &[Span], nodes: Option<&[usize]>| -> f64 {
        let counts = |s: &&Span| nodes.is_none_or(|nodes| nodes.binary_search(&s.node).is_ok());
        spans.iter().filter(counts).map(|s| s.seconds).sum()
    };
    let samples = |nodes: Option<&[usize]>| {
        Samples::new(profile.runs.iter().map(|spans| seconds(spans, nodes)).collect())
    };
    let mut ops: Vec<OpRow> = groups
        .into_iter()
        .map(|((op, shapes, kernels), nodes)| {
            let work = &profile.nodes[nodes[0]];
            let mut row = OpRow {
                op: op.into(),
                shapes: shapes.into(),
                dispatches: kernels.len() * nodes.len(),
                kernels: kernels.into_iter().map(String::from).collect(),
                seconds: samples(Some(&nodes[..])),
                nodes: nodes.len(),
                flops: work.flops,
                bytes: work.bytes,
                flops_per_second: 0.0,
                bytes_per_second: 0.0,
                bound: String::new(),
                share: 0.0,
            };
            let each = row.seconds.median / row.nodes as f64;
            let (compute, memory) = floors(&row, ceilings);
            let rate = |work: u64| if each > 0.0 { work as f64 / each } else { 0.0 };
            (row.flops_per_second, row.bytes_per_second) = (rate(row.flops), rate(row.bytes));
            row.bound = if compute > memory { "compute" } else { "memory" }.into();
            row.share = if each > 0.0 { compute.max(memory) / each } else { 0.0 };
            row
        })
        .collect();
    ops.sort_by(|a, b| b.seconds.median.total_cmp(&a.seconds.median));
    let floor = |row: &OpRow| {
        let (compute, memory) = floors(row, ceilings);
        row.nodes as f64 * compute.max(memory)
    };
    StageOps {
        stage: profile.stage.to_string(),
        times,
        dispatches: first.len(),
        seconds: samples(None),
        floor: ops.iter().map(floor).sum(),
        ops,
    }
}

/// Seconds that a node takes at least for its arithmetic and for its bytes (the roofline of Williams, Waterman and
/// Patterson, Communications of the ACM 52, 2009).
fn floors(row: &OpRow, ceilings: &Ceilings) -> (f64, f64) {
    let at = |work: u64, most: f64| if most > 0.0 { work as f64 / most } else { 0.0 };
    (at(row.flops, ceilings.product.per_second), at(row.bytes, ceilings.copy.per_second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype::Clock;
    use calotype::measure::{Ceiling, Work};

    #[test]
    fn nodes_of_one_shape_and_kernel_are_one_row() {
        let node = |name: &str, op, shapes: &str, flops, bytes| Work {
            name: name.into(),
            op,
            shapes: shapes.into(),
            flops,
            bytes,
        };
        let span = |node, kernel: &str, start, seconds| Span { node, kernel: kernel.into(), start, seconds };
        let profile = StageProfile {
            stage: calotype::Stage::Step,
            clock: Clock::Timestamps,
            nodes: vec![
                node("a", "matmul", "4x4", 100, 10),
                node("b", "group_norm", "8x8", 0, 50),
                node("c", "matmul", "4x4", 100, 10),
            ],
            runs: [1.0, 3.0, 2.0]
                .map(|s| {
                    vec![
                        span(0, "matmul[A]", 0.0, s),
                        span(1, "partial", s, 4.0 * s),
                        span(1, "apply", 5.0 * s, 2.0 * s),
                        span(2, "matmul[A]", 7.0 * s, s),
                    ]
                })
                .to_vec(),
        };
        let ceiling = |per_second| Ceiling { per_second, shape: String::new(), kernel: String::new() };
        let ceilings = Ceilings { product: ceiling(100.0), copy: ceiling(50.0) };
        let stage = stage(&profile, &ceilings, 20);
        assert_eq!((stage.dispatches, stage.times, stage.seconds.median), (4, 20, 16.0));
        let [norm, product] = &stage.ops[..] else { panic!("{stage:?}") };
        assert_eq!((norm.dispatches, norm.nodes, norm.kernels.len()), (2, 1, 2));
        assert_eq!(
            (norm.seconds.median, norm.bytes_per_second, norm.bound.as_str()),
            (12.0, 50.0 / 12.0, "memory")
        );
        assert_eq!((product.dispatches, product.nodes, product.seconds.median), (2, 2, 4.0));
        assert_eq!((product.flops_per_second, product.bound.as_str(), product.share), (50.0, "compute", 0.5));
        // Twice a second of arithmetic, and a second of bytes.
        assert_eq!(stage.floor, 3.0);
    }
}
