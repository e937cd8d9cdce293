use crate::{Elem, Graph, Rate, Source, ValueId};
use std::collections::HashSet;

/// Parts a graph in two: what depends only on inputs that stay the same for all steps, and the rest. Values that
/// cross become outputs `kept.N` of the first graph and inputs of that name of the second.
///
/// A text encoder's states do not change while a picture is made, so the keys and values that cross-attention
/// makes of them land in the first graph and are computed once a prompt.
pub fn split(graph: Graph) -> (Graph, Graph) {
    let mut varies: HashSet<ValueId> = HashSet::new();
    for (i, value) in graph.values.iter().enumerate() {
        if matches!(value.source, Source::Input { rate: Rate::Step, .. }) {
            varies.insert(ValueId(i as u32));
        }
    }
    let (mut first, mut second) = (graph.clone(), graph.clone());
    first.nodes.clear();
    second.nodes.clear();
    first.outputs.clear();
    for node in &graph.nodes {
        let steps = node.op.operands().iter().any(|v| varies.contains(v)) || !node.op.updates().is_empty();
        if steps {
            varies.insert(node.output);
            second.nodes.push(node.clone());
        } else {
            first.nodes.push(node.clone());
        }
    }
    let made: HashSet<ValueId> = first.nodes.iter().map(|n| n.output).collect();
    let needed: HashSet<ValueId> = second
        .nodes
        .iter()
        .flat_map(|n| n.op.operands())
        .chain(second.outputs.iter().map(|(_, v)| *v))
        .filter(|v| made.contains(v))
        .collect();
    let mut crossing: Vec<ValueId> = needed.into_iter().collect();
    crossing.sort();
    for (i, v) in crossing.iter().enumerate() {
        let name = format!("kept.{i}");
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
    /// Forgets inputs and weights that no node and no output names, so that none is loaded or asked for.
    fn drop_unused(&mut self) {
        let mut used: HashSet<ValueId> = self.nodes.iter().flat_map(|n| n.op.operands()).collect();
        used.extend(self.outputs.iter().map(|(_, v)| *v));
        used.extend(self.nodes.iter().map(|n| n.output));
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
