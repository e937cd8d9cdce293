use crate::Graph;
use crate::ops::{Concat, GroupNorm, Matmul, Op};

/// Skip connections are read where they lie: where all that reads two values side by side can read them as two, they
/// are never put together.
pub fn skip(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    for at in 0..graph.nodes.len() {
        let Op::Concat(Concat { a, b }) = graph.nodes[at].op else { continue };
        let y = graph.nodes[at].output;
        let mut readers: Vec<(usize, Op)> = Vec::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            let mut op = node.op.clone();
            let slots = match &mut op {
                Op::GroupNorm(GroupNorm { x, beside, .. }) | Op::Matmul(Matmul { x, beside, .. }) => {
                    (x, beside)
                }
                _ => continue,
            };
            if *slots.0 == y && slots.1.is_none() {
                *slots.0 = a;
                *slots.1 = Some(b);
                // What an op refuses stays as it was.
                if op.operands().iter().all(|v| *v != y) && op.infer(&graph).is_ok() {
                    readers.push((i, op));
                }
            }
        }
        if readers.len() == uses.get(&y).copied().unwrap_or(0) {
            readers.into_iter().for_each(|(i, op)| graph.nodes[i].op = op);
            graph.nodes[at].name.clear();
        }
    }
    graph.close_gaps();
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Shapes;
    use crate::{Activation, Elem, Layout, Rate};

    /// Two values side by side, a group norm of them and, with `more`, what else reads them.
    fn graph(size: usize, groups: usize, more: impl FnOnce(&mut Graph, crate::ValueId)) -> Graph {
        let mut g = Graph::new("g");
        let a = g.input("a", [1, size, size, 12], Elem::Float, Rate::Step);
        let b = g.input("b", [1, size, size, 4], Elem::Float, Rate::Step);
        let x = g.push("concat", Concat { a, b }).unwrap();
        let [gamma, beta] = ["gamma", "beta"].map(|n| g.weight(&[n], [16], Layout::Vector, [16]));
        let activation = Activation::Silu;
        let norm = GroupNorm { x, beside: None, gamma, beta, groups, eps: 1e-5, activation };
        let y = g.push("norm", norm).unwrap();
        g.output("y", y);
        more(&mut g, x);
        skip(g)
    }

    fn concats(g: &Graph) -> usize {
        g.nodes().iter().filter(|n| matches!(n.op, Op::Concat(_))).count()
    }

    #[test]
    fn two_values_are_put_together_only_for_readers_that_need_it() {
        let product = |g: &mut Graph, x| {
            let weight = g.weight(&["w"], [8, 16], Layout::Matrix, [16, 8]);
            let z = g.push("shortcut", Matmul::new(x, weight, None)).unwrap();
            g.output("z", z);
        };
        assert_eq!(concats(&graph(5, 4, product)), 0);
        assert_eq!(concats(&graph(5, 4, |g, x| g.output("x", x))), 1, "it is asked for");
        assert_eq!(concats(&graph(400, 2, product)), 1, "a group is too large for one workgroup");
        assert_eq!(concats(&graph(5, 16, product)), 1, "a group of one channel");
        assert_eq!(graph(5, 4, product).shape(graph(5, 4, product).outputs()[0].1).channels(), 16);
    }
}
