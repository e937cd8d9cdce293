use crate::caps::Caps;
use crate::ops::{Activation, Conv2d, Matmul, Op, Row, Shapes};
use crate::{Elem, Graph, Layout, Source, Tensor, Value, ValueId, Weight};
use std::collections::BTreeMap;

/// Products of one operand become one product, their weights side by side: queries, keys and values of an attention,
/// and what all residual blocks make of the time. Their readers take their columns of it by strides.
pub fn side_by_side(mut graph: Graph) -> Graph {
    let uses = graph.uses();
    let makers = graph.makers();
    // Products by what they are of and who reads them: the attention, or None for the current step's row and for what is
    // added to images.
    let mut groups: BTreeMap<(ValueId, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let (read, reader) = match &node.op {
            Op::Attention(a) => (vec![a.q, a.k, a.v], Some(i)),
            Op::Row(row) => (vec![row.x], None),
            Op::Conv2d(Conv2d { image_bias: Some(rows), .. }) => (vec![*rows], None),
            _ => continue,
        };
        for v in read.into_iter().filter(|v| uses[v] == 1) {
            if let Some(&at) = makers.get(&v)
                && let Op::Matmul(product) = &graph.nodes[at].op
                && graph.is_plain(product)
            {
                groups.entry((product.x, reader)).or_default().push(at);
            }
        }
    }
    for ((x, reader), group) in groups {
        if group.len() > 1 && graph.fits(x, &group) {
            let product = graph.merge(&group);
            if reader.is_none() {
                graph.merge_rows(product);
            }
        }
    }
    graph.close_gaps();
    graph
}

impl Graph {
    /// Whether a product is its weight's and nothing else, of whole vectors, with a weight that can lie beside others.
    fn is_plain(&self, product: &Matmul) -> bool {
        let [k, n] = [0, 1].map(|axis| self.shape(product.weight).dims()[axis]);
        let whole = |v: ValueId, layout: Layout| match self.value(v).source {
            Source::Weight(id) => {
                let w = &self.weights[id.index()];
                let rows: usize = w.tensors.iter().map(|t| t.shape.dims()[0]).sum();
                w.layout == layout && !w.gated && w.constant.is_none() && rows == n
            }
            _ => false,
        };
        product.activation == Activation::None
            && product.residual.is_none()
            && !product.gated
            && k.is_multiple_of(4)
            && n.is_multiple_of(4)
            && whole(product.weight, Layout::Matrix)
            && product.bias.is_none_or(|b| whole(b, Layout::Vector))
    }

    /// Whether the products together stay within what any device binds at once, in f32, and agree on having biases.
    fn fits(&self, x: ValueId, group: &[usize]) -> bool {
        let (rows, k) = (self.shape(x).rows(), self.shape(x).channels());
        let columns: usize = group.iter().map(|&at| self.shape(self.nodes[at].output).channels()).sum();
        let biases =
            group.iter().filter(|&&at| matches!(&self.nodes[at].op, Op::Matmul(m) if m.bias.is_some()));
        let biases = biases.count();
        4 * (columns * rows.max(k)) as u64 <= Caps::default().max_binding
            && (biases == 0 || biases == group.len())
    }

    /// Puts one product in the place of the first of `group`; the outputs of all become its columns. Returns where.
    fn merge(&mut self, group: &[usize]) -> usize {
        let mut group = group.to_vec();
        group.sort_unstable();
        let products: Vec<Matmul> = group
            .iter()
            .map(|&at| match &self.nodes[at].op {
                Op::Matmul(product) => product.clone(),
                _ => unreachable!("a group is of products"),
            })
            .collect();
        let weights: Vec<ValueId> = products.iter().map(|p| p.weight).collect();
        let biases: Vec<ValueId> = products.iter().filter_map(|p| p.bias).collect();
        let weight = self.beside(&weights);
        let bias = (!biases.is_empty()).then(|| self.beside(&biases));
        let x = products[0].x;
        let shape = self.shape(x).with_channels(self.shape(weight).channels());
        let first = group[0];
        let output = self.add_value(Value { shape, elem: Elem::Float, source: Source::Node(first) });
        let mut from = 0;
        for &at in &group {
            let node = &mut self.nodes[at];
            let own = &mut self.values[node.output.index()];
            own.source = Source::Columns { of: output, from };
            from += own.shape.channels();
            if at != first {
                let last = node.name.rsplit('.').next().unwrap_or_default().to_string();
                node.name.clear();
                if group.len() < 4 {
                    self.nodes[first].name.push_str(&format!("+{last}"));
                }
            }
        }
        let node = &mut self.nodes[first];
        if group.len() >= 4 {
            node.name.push_str(&format!(" and {} more", group.len() - 1));
        }
        node.op = Matmul::new(x, weight, bias).into();
        node.output = output;
        first
    }

    /// Weights side by side as one.
    fn beside(&mut self, values: &[ValueId]) -> ValueId {
        let own = |v: &ValueId| match self.value(*v).source {
            Source::Weight(id) => &self.weights[id.index()],
            _ => unreachable!("only weights lie side by side"),
        };
        let tensors: Vec<Tensor> = values.iter().flat_map(|v| own(v).tensors.clone()).collect();
        let weight = Weight { tensors, ..own(&values[0]).clone() };
        let columns = values.iter().map(|v| self.shape(*v).channels()).sum();
        let seen = self.shape(values[0]).with_channels(columns);
        self.add_weight(weight, seen)
    }

    /// The rows of a merged product's columns become columns of its row.
    fn merge_rows(&mut self, product: usize) {
        let x = self.nodes[product].output;
        let mut row: Option<ValueId> = None;
        for at in 0..self.nodes.len() {
            let Op::Row(own) = self.nodes[at].op.clone() else { continue };
            let (root, from) = self.columns(own.x);
            if root != x || own.x == x {
                continue;
            }
            let old = self.nodes[at].output;
            let of = *row.get_or_insert_with(|| {
                let shape = self.shape(old).with_channels(self.shape(x).channels());
                let output = self.add_value(Value { shape, elem: Elem::Float, source: Source::Node(at) });
                let node = &mut self.nodes[at];
                (node.op, node.output) = (Row { x, table: own.table }.into(), output);
                output
            });
            self.values[old.index()].source = Source::Columns { of, from };
            if self.nodes[at].output == old {
                self.nodes[at].name.clear();
            }
        }
    }
}
