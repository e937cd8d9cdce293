use crate::error::Error;
use crate::ops::{Op, Shapes};
use crate::precision::Precision;
use crate::stream::Streamed;
use crate::value::{Elem, Layout, Rate, Source, Tensor, Value, ValueId, Weight, WeightId};
use calotype_tensor::{DType, Encoding, HostTensor, Shape, Tensors};
use std::collections::HashSet;
use std::fmt::Write as _;

/// An op applied to values, yielding one.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// What it yields.
    pub output: ValueId,
    /// Its path in the model, such as `down_blocks.0.resnets.1.conv1`.
    pub name: String,
}

/// A computation: nodes in an order in which they can run, over values whose shapes are known and agree.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// What the graph computes.
    pub name: String,
    /// Which checkpoint the weights come from: two models on one device hold tensors of the same names.
    pub checkpoint: u64,
    /// How its weights come to the device, where they do not all stay there.
    pub streamed: Option<Streamed>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<Value>,
    pub(crate) weights: Vec<Weight>,
    pub(crate) outputs: Vec<(String, ValueId)>,
    /// The component whose weights are named: see [`Graph::within`].
    component: String,
    scope: Vec<String>,
}

impl Shapes for Graph {
    fn shape(&self, value: ValueId) -> Shape {
        self.values[value.index()].shape
    }
}

impl Graph {
    /// Bytes that no value may have, on whatever device.
    pub const MOST_BYTES: u64 = 1 << 48;

    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The nodes, in running order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every value.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Every weight.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The outputs, by name.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// The inputs, by name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, ValueId)> {
        self.values.iter().enumerate().filter_map(|(i, v)| match &v.source {
            Source::Input { name, .. } => Some((name.as_str(), ValueId(i as u32))),
            _ => None,
        })
    }

    /// Runs `build` with `part` appended to the path that names nodes and weights.
    pub fn scope<T>(&mut self, part: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(part.to_string());
        let out = build(self);
        self.scope.pop();
        out
    }

    /// Runs `build` with weights named as those of a component: `unet/conv_in.weight`. So one graph may take the weights
    /// of several, and each is known on a device by its component, whichever graph asks for it.
    pub fn within<T>(&mut self, component: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.component, component.to_string());
        let out = build(self);
        self.component = outer;
        out
    }

    /// What a weight of the current scope is called.
    fn weight_name(&self, part: &str) -> String {
        let path = self.path(part);
        if self.component.is_empty() { path } else { format!("{}/{path}", self.component) }
    }

    /// The path of the current scope with `part` appended.
    pub fn path(&self, part: &str) -> String {
        let mut path = self.scope.join(".");
        if !part.is_empty() {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
        path
    }

    /// A value that comes from outside.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>, elem: Elem, rate: Rate) -> ValueId {
        let source = Source::Input { name: name.to_string(), rate };
        self.add_value(Value { shape: shape.into(), elem, source })
    }

    /// A weight: `names` under the current scope (the first that the checkpoint holds is used), its shape there,
    /// its layout on the device, and its shape as the ops see it.
    pub fn weight(
        &mut self,
        names: &[&str],
        shape: impl Into<Shape>,
        layout: Layout,
        seen: impl Into<Shape>,
    ) -> ValueId {
        let names = names.iter().map(|n| self.weight_name(n)).collect();
        let tensors = vec![Tensor { names, shape: shape.into() }];
        let weight = Weight { tensors, layout, gated: false, constant: None, stored: Encoding::F32 };
        self.add_weight(weight, seen.into())
    }

    /// A constant in f32.
    pub fn constant(&mut self, name: &str, values: &[f32]) -> ValueId {
        let tensor = HostTensor::from_f32([values.len()], values);
        let (shape, layout) = (tensor.shape(), Layout::Vector);
        let tensors = vec![Tensor { names: vec![self.weight_name(name)], shape }];
        let constant = Some(tensor);
        self.add_weight(Weight { tensors, layout, gated: false, constant, stored: Encoding::F32 }, shape)
    }

    /// A weight as it stands, seen by the ops as `seen`; the same one twice is one value.
    pub(crate) fn add_weight(&mut self, weight: Weight, seen: Shape) -> ValueId {
        let known = self
            .weights
            .iter()
            .position(|w| (&w.tensors, w.layout, w.gated) == (&weight.tensors, weight.layout, weight.gated));
        if let Some(id) = known {
            let source = Source::Weight(WeightId(id as u32));
            if let Some(v) = self.values.iter().position(|v| v.source == source && v.shape == seen) {
                return ValueId(v as u32);
            }
        }
        self.weights.push(weight);
        let source = Source::Weight(WeightId(self.weights.len() as u32 - 1));
        self.add_value(Value { shape: seen, elem: Elem::Float, source })
    }

    /// Applies an op. `name` is its last part of the path.
    pub fn push(&mut self, name: &str, op: impl Into<Op>) -> Result<ValueId, Error> {
        let op = op.into();
        let node = self.path(name);
        let (shape, elem) = op.infer(self).map_err(|problem| Error::Shape {
            node: format!("{}: {node}", self.name),
            op: op.name(),
            problem,
        })?;
        // A 32-bit program, which is what runs in a browser, cannot even count the bytes of more; and where values stay
        // below the other, sums of their sizes cannot overflow.
        let needed = shape.bytes(DType::F32);
        let limit = (usize::MAX as u64).min(Self::MOST_BYTES);
        if needed > limit {
            return Err(Error::BufferLimit { node: format!("{}: {node}", self.name), needed, limit });
        }
        let output = self.add_value(Value { shape, elem, source: Source::Node(self.nodes.len()) });
        self.nodes.push(Node { op, output, name: node });
        Ok(output)
    }

    /// Names a value as an output.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push((name.to_string(), value));
    }

    /// Where a value's channels lie: in which computed value, from which channel on.
    pub fn columns(&self, value: ValueId) -> (ValueId, usize) {
        match self.value(value).source {
            Source::Columns { of, from } => {
                let (root, begin) = self.columns(of);
                (root, begin + from)
            }
            _ => (value, 0),
        }
    }

    /// The value that is computed where `value` is a part of one, else itself.
    pub fn root(&self, value: ValueId) -> ValueId {
        self.columns(value).0
    }

    pub(crate) fn add_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    /// The tensors that a checkpoint has to hold.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.weights.iter().filter(|weight| weight.constant.is_none()).flat_map(|weight| &weight.tensors)
    }

    /// The same as something that stands in for a checkpoint makes them ([`calotype_tensor::Made`]).
    pub fn declared(&self, dtype: DType) -> impl Iterator<Item = (String, DType, Shape)> {
        self.tensors().map(move |tensor| (tensor.names[0].clone(), dtype, tensor.shape))
    }

    /// Finds every weight in a checkpoint, checks its shape there, and settles how it will be stored.
    ///
    /// f16 weights stay f16 under either precision, since widening them buys no accuracy and doubles the memory; but
    /// where a channel count is no multiple of four, f32 has them in f32, which any device can read one by one.
    pub fn resolve(&mut self, source: &dyn Tensors, precision: Precision) -> Result<(), Error> {
        // Kernels of single channels read halves only where the device computes with them.
        let is_odd = |id: WeightId, seen: Shape| {
            let rows = if self.weights[id.index()].layout == Layout::Table { 4 } else { seen.rows() };
            !rows.is_multiple_of(4) || !seen.channels().is_multiple_of(4)
        };
        let odd: HashSet<usize> = self
            .weight_values()
            .filter(|(id, seen, _)| is_odd(*id, *seen))
            .map(|(id, ..)| id.index())
            .collect();
        for (i, weight) in self.weights.iter_mut().enumerate().filter(|(_, w)| w.constant.is_none()) {
            let mut halves = true;
            for tensor in &mut weight.tensors {
                halves &= tensor.resolve(source)? == DType::F16;
            }
            weight.stored = match (weight.layout, precision) {
                (Layout::Vector, _) => Encoding::F32,
                (_, Precision::F16) => Encoding::F16,
                _ if halves && !odd.contains(&i) => Encoding::F16,
                _ => Encoding::F32,
            };
        }
        Ok(())
    }

    /// What identifies a weight on a device: the checkpoint, the tensor with its component, and its layout. Weights of no
    /// component are the graph's own.
    pub fn weight_key(&self, id: WeightId) -> String {
        let w = &self.weights[id.index()];
        let name = w.name();
        let owner = if name.contains('/') { "" } else { &self.name };
        let prefix = Self::weight_prefix(self.checkpoint, owner);
        let gated = if w.gated { " gated" } else { "" };
        format!("{prefix}{name}:{:?}{gated}:{}", w.layout, w.stored)
    }

    /// The tensors of the weight that a key of this checkpoint is of, by their names.
    pub fn tensors_of(checkpoint: u64, key: &str) -> impl Iterator<Item = &str> {
        let of =
            key.strip_prefix(&Self::weight_prefix(checkpoint, "")).and_then(|rest| rest.split(':').next());
        of.into_iter().flat_map(|names| names.split('+'))
    }

    /// What the keys of a checkpoint's weights begin with; of one component's, where it is named.
    pub fn weight_prefix(checkpoint: u64, component: &str) -> String {
        if component.is_empty() { format!("{checkpoint}/") } else { format!("{checkpoint}/{component}/") }
    }

    /// Bytes a weight takes on a device, and the value by which the ops see it.
    pub fn weight_values(&self) -> impl Iterator<Item = (WeightId, Shape, u64)> {
        self.values.iter().filter_map(|v| match v.source {
            Source::Weight(id) => Some((id, v.shape, self.weights[id.index()].stored.bytes(v.shape.numel()))),
            _ => None,
        })
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.nodes.iter().fold(0, |sum, n| sum.saturating_add(n.op.flops(self)))
    }

    /// Whether some channel count is no multiple of four, so that packed f16 cannot hold it.
    pub fn has_odd_channels(&self) -> bool {
        self.nodes.iter().any(|n| {
            let v = self.value(n.output);
            v.elem == Elem::Float && !v.shape.channels().is_multiple_of(4)
        })
    }

    /// A listing, one node a line: what passes are compared by.
    pub fn listing(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let named = |v: &ValueId| match self.columns(*v) {
                (root, 0) if root == *v => format!("%{} {}", v.0, self.shape(*v)),
                (root, from) => format!("%{}[{from}..] {}", root.0, self.shape(*v)),
            };
            let operands: Vec<String> = node.op.operands().iter().map(named).collect();
            let _ = writeln!(
                text,
                "%{} {} = {}({})  # {}",
                node.output.0,
                self.shape(node.output),
                node.op.name(),
                operands.join(", "),
                node.name
            );
        }
        text
    }
}

impl Tensor {
    /// Settles under which name a checkpoint holds the tensor, checks its shape there, and returns its elements' type.
    fn resolve(&mut self, source: &dyn Tensors) -> Result<DType, Error> {
        let is_there = |name: &&String| !source.get(name).is_err_and(|error| error.is_missing());
        // Where there is none, what is said is about the first.
        let name = self.names.iter().find(is_there).unwrap_or(&self.names[0]).clone();
        let info = source.get(&name)?;
        // Linear layers may be kept as 1x1 convolutions and the other way round.
        let trim = |d: &[usize]| if d.len() == 4 && d[2..] == [1, 1] { d[..2].to_vec() } else { d.to_vec() };
        if trim(&info.shape) != trim(self.shape.dims()) {
            let (found, expected) = (format!("{:?}", info.shape), self.shape.to_string());
            let (name, file) = (info.name.clone(), source.describe(&name));
            return Err(Error::WeightShape { name, file, found, expected });
        }
        self.names = vec![name];
        Ok(info.dtype)
    }
}
