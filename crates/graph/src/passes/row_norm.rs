use crate::caps::Caps;
use crate::ops::{LayerNorm, Op, RowNorm, Shapes};
use crate::{Graph, Source, ValueId};

/// Layer norms go into the product that reads them: the product that yields what is normalised leaves its rows'
/// moments behind, and the one after it normalises as it reads.
pub fn row_norm(mut graph: Graph) -> Graph {
    let (uses, makers) = (graph.uses(), graph.makers());
    for at in 0..graph.nodes.len() {
        let Op::LayerNorm(LayerNorm { x, gamma, beta, eps }) = graph.nodes[at].op else { continue };
        let normed = graph.nodes[at].output;
        let reads = |op: &Op| op.operands().contains(&normed);
        let Some(reader) = graph.nodes.iter().position(|n| reads(&n.op)).filter(|_| uses[&normed] == 1)
        else {
            continue;
        };
        let Some(&maker) = makers.get(&x) else { continue };
        let (Op::Matmul(mut from), Op::Matmul(mut to)) =
            (graph.nodes[maker].op.clone(), graph.nodes[reader].op.clone())
        else {
            continue;
        };
        from.moments = true;
        (to.x, to.norm) = (x, Some(RowNorm { gamma, beta, eps }));
        let (from, to) = (Op::from(from), Op::from(to));
        // What an op refuses stays as it was, as does what is not the graph's own or is read by another graph.
        let whole = from.infer(&graph).is_ok() && to.infer(&graph).is_ok() && !reads(&to);
        if whole && graph.is_own(x) && graph.steps_alike(maker, reader) {
            graph.nodes[maker].op = from;
            graph.nodes[reader].op = to;
            graph.nodes[at].name.clear();
        }
    }
    graph.close_gaps();
    graph
}

impl Graph {
    /// Whether a value lies in the graph's own memory, and fits what any device binds at once.
    fn is_own(&self, v: ValueId) -> bool {
        let inside = matches!(self.value(v).source, Source::Node(_));
        inside
            && self.outputs.iter().all(|(_, o)| *o != v)
            && self.shape(v).bytes(calotype_tensor::DType::F32) <= Caps::default().max_binding
    }
}
