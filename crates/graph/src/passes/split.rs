use crate::{Elem, Graph, Rate, Source, ValueId};
use std::collections::HashSet;

/// Parts a graph in two: what depends only on inputs that stay the same for all steps, and the rest. Values that
/// cross become outputs `kept.N` of the first graph and inputs of that name of the second.
///
/// A text encoder's states do not change while a picture is made, so the keys and values that cross-attention
/// makes of them land in the first graph and are computed once a prompt. So do the time's embeddings and projections,
/// of all steps at once; a step takes its row of them ([`crate::ops::Row`]).
pub fn split(graph: Graph) -> (Graph, Graph) {
    split_as(graph, "kept")
}

/// The same with another name in the place of `kept`, for graphs that share ports with others.
pub fn split_as(graph: Graph, kept: &str) -> (Graph, Graph) {
    let varies = graph.varying();
    let (mut first, mut second) = (graph.clone(), graph.clone());
    first.nodes.clear();
    second.nodes.clear();
    first.outputs.clear();
    for node in &graph.nodes {
        let part = if varies.contains(&node.output) { &mut second } else { &mut first };
        part.nodes.push(node.clone());
    }
    let made: HashSet<ValueId> = first.nodes.iter().map(|n| n.output).collect();
    let needed: HashSet<ValueId> = second
        .nodes
        .iter()
        .flat_map(|n| n.op.operands())
        .chain(second.outputs.iter().map(|(_, v)| *v))
        .map(|v| graph.root(v))
        .filter(|v| made.contains(v))
        .collect();
    let mut crossing: Vec<ValueId> = needed.into_iter().collect();
    crossing.sort();
    for (i, v) in crossing.iter().enumerate() {
        let name = format!("{kept}.{i}");
        debug_assert_eq!(graph.value(*v).elem, Elem::Float, "only activations cross");
        second.values[v.index()].source = Source::Input { name: name.clone(), rate: Rate::Prompt };
        first.outputs.push((name, *v));
    }
    first.name.push_str(" context");
    for part in [&mut first, &mut second] {
        part.drop_unused();
        part.renumber();
    }
    (first, second)
}

impl Graph {
    /// What changes from step to step: such inputs, and all that hangs on them or on the step itself.
    fn varying(&self) -> HashSet<ValueId> {
        let mut varies: HashSet<ValueId> = HashSet::new();
        for (i, value) in self.values.iter().enumerate() {
            if matches!(value.source, Source::Input { rate: Rate::Step, .. }) {
                varies.insert(ValueId(i as u32));
            }
        }
        for node in &self.nodes {
            if node.op.steps() || node.op.operands().iter().any(|v| varies.contains(&self.root(*v))) {
                varies.insert(node.output);
            }
        }
        varies
    }

    /// Whether two nodes will be in the same part when the graph is split.
    pub(super) fn steps_alike(&self, a: usize, b: usize) -> bool {
        let varies = self.varying();
        varies.contains(&self.nodes[a].output) == varies.contains(&self.nodes[b].output)
    }
}
