use crate::ops::{Activation, Matmul, Op, Shapes};
use crate::{Graph, Source, ValueId};

/// Gates go into the product that makes them (GEGLU): the columns of values and gates alternate, so that whatever
/// computes a value has its gate at hand, and twice the width is never stored.
pub fn gate(mut graph: Graph) -> Graph {
    let (uses, makers) = (graph.uses(), graph.makers());
    for at in 0..graph.nodes.len() {
        let Op::Geglu(geglu) = &graph.nodes[at].op else { continue };
        let (x, activation) = (geglu.x, geglu.activation);
        let Some(&from) = makers.get(&x).filter(|_| uses[&x] == 1) else { continue };
        let Op::Matmul(product) = graph.nodes[from].op.clone() else { continue };
        let [k, n] = [0, 1].map(|axis| graph.shape(product.weight).dims()[axis]);
        let plain = product.activation == Activation::None && product.residual.is_none() && !product.gated;
        if !plain || !k.is_multiple_of(4) || !n.is_multiple_of(8) {
            continue;
        }
        let Some(weight) = graph.gated(product.weight) else { continue };
        let bias = product.bias.map(|b| graph.gated(b));
        if bias == Some(None) {
            continue;
        }
        graph.nodes[at].op =
            Matmul { weight, bias: bias.flatten(), activation, gated: true, ..product }.into();
        graph.nodes[at].name = std::mem::take(&mut graph.nodes[from].name);
    }
    graph.close_gaps();
    graph
}

impl Graph {
    /// A weight whose halves alternate; none for what is no weight of a checkpoint or is padded.
    fn gated(&mut self, value: ValueId) -> Option<ValueId> {
        let Source::Weight(id) = self.value(value).source else { return None };
        let (mut weight, seen) = (self.weights[id.index()].clone(), self.shape(value));
        let whole = weight.tensors.iter().map(|t| t.shape.dims()[0]).sum::<usize>() == seen.channels();
        (whole && weight.constant.is_none() && !weight.gated).then(|| {
            weight.gated = true;
            self.add_weight(weight, seen)
        })
    }
}
