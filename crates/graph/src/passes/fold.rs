use crate::ops::{Activate, Activation, Add, Affine, Conv2d, GroupNorm, Matmul, Op, Shapes, Upsample};
use crate::{Graph, Node, ValueId};
use std::collections::HashMap;

/// Folds into products and convolutions what can be done as they read or write: an activation, a residual, a
/// row added to each image, nearest-neighbour resampling of a convolution's input; and into group norms the
/// activation after them. A value that something else needs too stays as it is.
pub fn fold(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    let once = |v: &ValueId| uses.get(v) == Some(&1);

    let mut kept: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    let mut made: HashMap<ValueId, usize> = HashMap::new(); // value → index of the node in `kept` that yields it
    for mut node in std::mem::take(&mut graph.nodes) {
        let producer = |v: &ValueId| if once(v) { made.get(v).copied() } else { None };
        // What the node's operand's producer becomes when it takes this node in, and where that operand lies.
        let absorbed = match &node.op {
            Op::Activate(a) => producer(&a.x).and_then(|at| activate(&kept[at].op, a).map(|op| (at, op))),
            // The operand produced last takes the addition in: the other is there by then.
            Op::Add(a) => {
                let mut sides = [(a.a, a.b), (a.b, a.a)];
                sides.sort_by_key(|(own, _)| std::cmp::Reverse(made.get(own).copied()));
                sides.into_iter().find_map(|(own, other)| {
                    let at = producer(&own)?;
                    add(&kept[at].op, a, own, other, &graph).map(|op| (at, op))
                })
            }
            _ => None,
        };
        if let Some((at, op)) = absorbed {
            // It moves down to where the absorbed node stood: all it reads has been computed by then.
            let old = kept[at].output;
            made.remove(&old);
            let name = std::mem::take(&mut kept[at].name);
            kept[at].op = Op::Scale(crate::ops::Scale { x: old, scale: 0.0, shift: 0.0 }); // a gap, dropped below
            kept[at].name.clear();
            node = Node { op, output: node.output, name };
        } else if let Op::Conv2d(conv) = &mut node.op
            && let Some(at) = producer(&conv.x)
            && let Op::Upsample(Upsample { x, size }) = kept[at].op
            && conv.upsample.is_none()
        {
            conv.x = x;
            conv.upsample = Some(size);
            kept[at].name.clear();
        }
        made.insert(node.output, kept.len());
        kept.push(node);
    }
    graph.nodes = kept;
    graph.close_gaps();
    graph
}

fn activate(op: &Op, a: &Activate) -> Option<Op> {
    let mut op = op.clone();
    let slot = match &mut op {
        Op::Matmul(Matmul { activation, residual: None, gated: false, .. })
        | Op::Conv2d(Conv2d { activation, residual: None, .. })
        | Op::GroupNorm(GroupNorm { activation, .. })
        | Op::Affine(Affine { activation, .. }) => activation,
        _ => return None,
    };
    (*slot == Activation::None).then(|| *slot = a.activation)?;
    Some(op)
}

fn add(op: &Op, add: &Add, own: ValueId, other: ValueId, shapes: &dyn Shapes) -> Option<Op> {
    let mut op = op.clone();
    let same = shapes.shape(own) == shapes.shape(other);
    match &mut op {
        Op::Matmul(m) if same && m.residual.is_none() => m.residual = Some(other),
        Op::Conv2d(c) if same && c.residual.is_none() => c.residual = Some(other),
        Op::Conv2d(c)
            if !same
                && own == add.a
                && c.image_bias.is_none()
                && c.residual.is_none()
                && c.activation == Activation::None =>
        {
            c.image_bias = Some(other);
        }
        _ => return None,
    }
    Some(op)
}
