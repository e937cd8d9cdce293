//! A graph whose weights do not all stay on the device, in runs of nodes whose weights come together.

use crate::graph::Graph;
use crate::stream::Streamed;
use crate::value::{Source, WeightId};
use std::ops::Range;

/// Nodes that run one after another, and their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The nodes, by index.
    pub nodes: Range<usize>,
    /// The weights, each with its first byte in the slot.
    pub weights: Vec<(WeightId, u64)>,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether they stay on the device, and are in no slot.
    pub stays: bool,
}

/// A graph in segments: first the nodes whose weights stay, if there are any.
pub fn segments(graph: &Graph, streamed: Streamed, alignment: u64) -> Vec<Segment> {
    let (resident, others) = streamed.cut(&loads(graph, alignment));
    let segment = |nodes: Range<usize>| {
        let (stays, mut weights, mut bytes) = (nodes.start < resident, Vec::new(), 0u64);
        for (id, size) in nodes.clone().flat_map(|node| weights_of(graph, node)) {
            weights.push((id, bytes));
            bytes += size.next_multiple_of(alignment);
        }
        Segment { nodes, weights, bytes, stays }
    };
    let first = (resident > 0).then_some(0..resident);
    first.into_iter().chain(others).map(segment).collect()
}

/// Bytes of weights that each of a graph's nodes takes, each weight from the next aligned byte on.
pub fn loads(graph: &Graph, alignment: u64) -> Vec<u64> {
    let aligned = |(_, bytes): (WeightId, u64)| bytes.next_multiple_of(alignment);
    (0..graph.nodes().len()).map(|node| weights_of(graph, node).into_iter().map(aligned).sum()).collect()
}

/// The weights that a node takes, with their bytes.
fn weights_of(graph: &Graph, node: usize) -> Vec<(WeightId, u64)> {
    let mut found: Vec<(WeightId, u64)> = Vec::new();
    for value in graph.nodes()[node].op.operands() {
        let value = graph.value(graph.root(value));
        if let Source::Weight(id) = value.source
            && found.iter().all(|(known, _)| *known != id)
        {
            found.push((id, graph.weights()[id.index()].stored.bytes(value.shape.numel())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Matmul;
    use crate::value::{Elem, Layout, Rate};

    #[test]
    fn a_segments_weights_lie_one_after_another() {
        let mut graph = Graph::new("products");
        let mut x = graph.input("x", [8, 16], Elem::Float, Rate::Step);
        for i in 0..4 {
            let weight = graph.weight(&[&format!("w{i}")], [16, 16], Layout::Matrix, [16, 16]);
            let bias = graph.weight(&[&format!("b{i}")], [16], Layout::Vector, [16]);
            x = graph.push(&format!("y{i}"), Matmul::new(x, weight, Some(bias))).unwrap();
        }
        // A product takes 1024 bytes and 64, which take 256.
        assert_eq!(loads(&graph, 256), [1280; 4]);
        let segments = segments(&graph, Streamed { resident: 1300, slot: 2600 }, 256);
        let told: Vec<_> = segments.iter().map(|s| (s.nodes.clone(), s.stays, s.bytes)).collect();
        assert_eq!(told, [(0..1, true, 1280), (1..3, false, 2560), (3..4, false, 1280)]);
        let offsets: Vec<u64> = segments[1].weights.iter().map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, [0, 1024, 1280, 2304]);
    }
}
