//! Rewrites of a graph that keep its numbers: what can be done in one kernel becomes one node, and what does not
//! change from step to step becomes a graph of its own. [`crate::Graph::listing`] before and after shows what a
//! pass did; `RUST_LOG=calotype_graph=trace` prints them.

mod fold;
mod gate;
mod row_norm;
mod side_by_side;
mod skip;
mod split;

pub use fold::fold;
pub use gate::gate;
pub use row_norm::row_norm;
pub use side_by_side::side_by_side;
pub use skip::skip;
pub use split::{split, split_as};

use crate::{Graph, Source, ValueId};
use std::collections::{HashMap, HashSet};

/// A rewrite: what it is called, and what it makes of a graph.
pub type Pass = (&'static str, fn(Graph) -> Graph);

/// Every pass that [`fuse`] takes, in order.
pub const PASSES: &[Pass] =
    &[("gate", gate), ("fold", fold), ("side by side", side_by_side), ("skip", skip), ("row norm", row_norm)];

/// Takes every pass.
pub fn fuse(graph: Graph) -> Graph {
    let name = graph.name.clone();
    log::trace!("{name}, {} nodes as built:\n{}", graph.nodes.len(), graph.listing());
    PASSES.iter().fold(graph, |graph, (pass, run)| {
        let graph = run(graph);
        log::trace!("{name}, {} nodes after {pass}:\n{}", graph.nodes.len(), graph.listing());
        graph
    })
}

impl Graph {
    /// How often each value is read, by nodes or from outside.
    fn uses(&self) -> HashMap<ValueId, usize> {
        let mut uses = HashMap::new();
        let operands = self.nodes.iter().flat_map(|n| n.op.operands());
        for v in operands.chain(self.outputs.iter().map(|(_, v)| *v)) {
            *uses.entry(v).or_default() += 1;
        }
        uses
    }

    /// Which node yields each value.
    fn makers(&self) -> HashMap<ValueId, usize> {
        self.nodes.iter().enumerate().map(|(i, n)| (n.output, i)).collect()
    }

    /// Drops the nodes that a pass left without a name, and what only they needed.
    fn close_gaps(&mut self) {
        self.nodes.retain(|n| !n.name.is_empty());
        self.drop_unused();
        self.renumber();
    }

    /// Makes every value's source agree with the order of the nodes after they were moved.
    fn renumber(&mut self) {
        for (i, node) in self.nodes.iter().enumerate() {
            self.values[node.output.index()].source = Source::Node(i);
        }
    }

    /// Forgets inputs, weights and views that no node and no output names, so that none is loaded or asked for.
    fn drop_unused(&mut self) {
        let operands = self.nodes.iter().flat_map(|n| n.op.operands().into_iter().chain([n.output]));
        let mut used: HashSet<ValueId> = operands.chain(self.outputs.iter().map(|(_, v)| *v)).collect();
        used.extend(used.clone().into_iter().map(|v| self.root(v)));
        let mut new_id = vec![ValueId(u32::MAX); self.values.len()];
        let mut values = Vec::new();
        let mut weights = Vec::new();
        for (i, mut value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            if !used.contains(&ValueId(i as u32)) {
                continue;
            }
            if let Source::Weight(id) = &mut value.source {
                weights.push(self.weights[id.index()].clone());
                *id = crate::WeightId(weights.len() as u32 - 1);
            }
            new_id[i] = ValueId(values.len() as u32);
            values.push(value);
        }
        for value in &mut values {
            if let Source::Columns { of, .. } = &mut value.source {
                *of = new_id[of.index()];
            }
        }
        self.values = values;
        self.weights = weights;
        for node in &mut self.nodes {
            node.op.visit_operands(&mut |v| *v = new_id[v.index()]);
            node.output = new_id[node.output.index()];
        }
        for (_, v) in &mut self.outputs {
            *v = new_id[v.index()];
        }
    }
}
