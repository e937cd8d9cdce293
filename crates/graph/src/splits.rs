//! The products of a graph, and which of them have their k split.

use crate::caps::Caps;
use crate::cuts::{Cut, Product, cut};
use crate::graph::{Graph, Node};
use crate::launch::{Lower, Stored};
use crate::precision::Precision;
use std::collections::HashMap;

impl Product {
    /// The product that a node is. None where it is none, or one of channel counts that are no multiple of four, whose
    /// kernel has nothing to choose.
    pub fn of(graph: &Graph, node: &Node, precision: Precision, caps: &Caps) -> Option<Self> {
        node.op.product(&Stored::new(graph.values(), graph.weights(), precision, caps), node.output)
    }
}

/// How each product of a graph is cut up, by its node.
pub(crate) fn cuts(graph: &Graph, precision: Precision, caps: &Caps) -> HashMap<usize, (Product, Cut)> {
    let nodes = graph.nodes().iter().enumerate();
    let products = nodes.filter_map(|(at, n)| Some((at, Product::of(graph, n, precision, caps)?)));
    products.map(|(at, p)| (at, (p, cut(caps, &p)))).collect()
}
