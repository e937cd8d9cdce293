//! The products of a graph, and which of them have their k split.

use crate::caps::Caps;
use crate::cuts::{Cut, Product, cut, estimated, time};
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

/// Products of one graph whose k is split, at most: those that gain most. Each is a launch more, and an evaluation of
/// Stable Diffusion 1.5 at 512x512, which takes 289 without, is held to 300.
const MOST_SPLIT: usize = 11;

/// How each product of a graph is cut up, by its node.
pub(crate) fn cuts(graph: &Graph, precision: Precision, caps: &Caps) -> HashMap<usize, (Product, Cut)> {
    let nodes = graph.nodes().iter().enumerate();
    let products = nodes.filter_map(|(at, n)| Some((at, Product::of(graph, n, precision, caps)?)));
    let mut cuts: HashMap<_, _> = products.map(|(at, p)| (at, (p, cut(caps, &p)))).collect();
    let mut split: Vec<(f64, usize, Cut)> = Vec::new();
    // What was measured to gain is worth its launch, and is not counted.
    let estimated_split = |p: &Product, cut: &Cut| cut.splits > 1 && caps.tuned.get(p) != Some(cut);
    for (at, (product, cut)) in cuts.iter().filter(|(_, (p, cut))| estimated_split(p, cut)) {
        let whole = estimated(caps, product, |cut| cut.splits == 1);
        split.push((time(caps, product, cut) - time(caps, product, &whole), *at, whole));
    }
    split.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let most = if caps.only_cut.is_some() { split.len() } else { MOST_SPLIT };
    for (_, at, whole) in split.into_iter().skip(most) {
        cuts.entry(at).and_modify(|(_, cut)| *cut = whole);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Matmul;
    use crate::value::{Elem, Layout, Rate};

    #[test]
    fn of_a_graph_the_products_that_gain_most_are_split() {
        let mut graph = Graph::new("products");
        let depths: Vec<usize> = (0..2 * MOST_SPLIT).map(|i| if i % 4 == 3 { 10240 } else { 5120 }).collect();
        for (i, &k) in depths.iter().enumerate() {
            let x = graph.input(&format!("x{i}"), [128, k], Elem::Float, Rate::Step);
            let weight = graph.weight(&[&format!("w{i}")], [1280, k], Layout::Matrix, [k, 1280]);
            graph.push(&format!("y{i}"), Matmul::new(x, weight, None)).unwrap();
        }
        let split = |caps: &Caps| -> Vec<usize> {
            let all = cuts(&graph, Precision::F32, caps);
            (0..depths.len()).filter(|at| all[at].1.splits > 1).collect()
        };
        let caps = Caps::default();
        let found = split(&caps);
        assert_eq!(found.len(), MOST_SPLIT, "{found:?}");
        assert!((0..depths.len()).all(|at| depths[at] == 5120 || found.contains(&at)), "{found:?}");
        // What is forced is so everywhere.
        assert_eq!(split(&Caps { only_cut: Some(1), ..caps }).len(), depths.len());
    }
}
