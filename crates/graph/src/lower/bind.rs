use super::cuts::{Cut, Product};
use super::{Binding, Caps, Dispatch, Operand, Recording};
use crate::ops::Shapes;
use crate::plan::{Place, Plan, bytes_of, moments_of};
use crate::{Elem, Error, Graph, Precision, Source, ValueId};
use calotype_shaders::Variant;
use calotype_tensor::{DType, Shape};
use std::ops::Range;

/// What the ops' lowerings share: names of kernels, windows on values, the growing list of dispatches.
pub(super) struct Context<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    precision: Precision,
    pub caps: &'a Caps,
    node: usize,
    dispatches: Vec<Dispatch>,
}

/// A binding on a part of a value, and what a shader adds to indices of the whole to land in it.
pub(super) struct Window {
    pub binding: Binding,
    /// In elements; shaders count in vectors, so divide with [`Window::base`].
    begin: u64,
}

impl Window {
    /// What to add (wrapping) to an index that counts `vector` elements at a time.
    pub fn base(&self, vector: usize) -> u32 {
        0u32.wrapping_sub((self.begin / vector as u64) as u32)
    }
}

impl<'a> Context<'a> {
    pub fn new(graph: &'a Graph, plan: &'a Plan, precision: Precision, caps: &'a Caps) -> Self {
        Self { graph, plan, precision, caps, node: 0, dispatches: Vec::new() }
    }

    pub fn begin(&mut self, node: usize) {
        self.node = node;
    }

    pub fn finish(self) -> Recording {
        let nodes = self.graph.nodes().iter().map(|n| n.name.clone()).collect();
        Recording { name: self.graph.name.clone(), dispatches: self.dispatches, nodes }
    }

    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }

    /// How activations are stored, as the shaders' define.
    pub fn a(&self) -> &'static str {
        activations(self.precision, self.caps)
    }

    /// How a weight is stored, as the shaders' define.
    pub fn w(&self, value: ValueId) -> &'static str {
        weights(self.graph, value, self.precision, self.caps)
    }

    /// See [`vector`].
    pub fn vector(&self, channels: &[usize]) -> usize {
        vector(channels)
    }

    /// The current node as a product, and how the plan has it cut up. None where its kernel leaves no choice.
    pub fn product(&self) -> Option<(Product, Cut)> {
        self.plan.cuts.get(&self.node).copied()
    }

    /// The kernel `stem` under `defines`.
    pub fn variant(&self, stem: &str, defines: &[&str]) -> Result<&'static Variant, Error> {
        // A device that runs shaders in software gathers words many at a time, but halves one by one.
        let packed = |&d| match d {
            "A_F16" => "A_H16",
            "W_F16" => "W_H16",
            other => other,
        };
        let software: Option<Vec<&str>> = self.caps.software.then(|| defines.iter().map(packed).collect());
        let found = software.and_then(|defines| Variant::find(stem, &defines));
        found.or_else(|| Variant::find(stem, defines)).ok_or_else(|| {
            let node = &self.graph.nodes()[self.node].name;
            Error::Device(format!(
                "{}: {node}: there is no kernel {stem} {defines:?} (channel counts that are no multiple of four \
                 need --dtype f32 or a device with shader-f16)",
                self.graph.name
            ))
        })
    }

    /// The elementwise kernel `stem` for vectors of `vector` elements.
    pub fn pointwise(&self, stem: &str, vector: usize) -> Result<&'static Variant, Error> {
        self.variant(stem, &[self.a(), if vector == 4 { "VEC4" } else { "VEC1" }])
    }

    fn element(&self, value: ValueId) -> u64 {
        let v = self.graph.value(value);
        match (v.elem, &v.source) {
            (_, Source::Weight(_)) => weight_dtype(self.graph, value, self.precision).size() as u64,
            (Elem::Float, _) => self.precision.dtype().size() as u64,
            _ => 4,
        }
    }

    fn whole(&self, value: ValueId) -> Binding {
        let bytes = bytes_of(self.graph, value, self.precision);
        if let Some(place) = self.plan.places.get(&value) {
            return Binding { operand: Operand::Arena(place.buffer), offset: place.offset, bytes };
        }
        let operand = match &self.graph.value(value).source {
            Source::Weight(id) => Operand::Weight(*id),
            Source::Input { name, .. } => Operand::Port(name.clone()),
            Source::Node(_) | Source::Columns { .. } => {
                let name = self.graph.outputs().iter().find(|(_, v)| *v == value).map(|(n, _)| n.clone());
                Operand::Port(
                    name.unwrap_or_else(|| unreachable!("a value is planned, an input or an output")),
                )
            }
        };
        Binding { operand, offset: 0, bytes }
    }

    /// All of a value. Fails where that is more than a binding holds.
    pub fn bind(&self, value: ValueId) -> Result<Binding, Error> {
        let binding = self.whole(value);
        if binding.bytes > self.caps.max_binding {
            let node = format!("{}: {}", self.graph.name, self.graph.nodes()[self.node].name);
            return Err(Error::BufferLimit { node, needed: binding.bytes, limit: self.caps.max_binding });
        }
        Ok(binding)
    }

    /// A value, or the channels of one, for a kernel that reads by strides: what to bind, the elements from one row to
    /// the next, and the first element.
    pub fn columns(&self, value: ValueId) -> Result<(Binding, usize, usize), Error> {
        let (root, from) = self.graph.columns(value);
        Ok((self.bind(root)?, self.shape(root).channels(), from))
    }

    /// The moments of a value's rows, which the product that yields it leaves behind it.
    pub fn moments(&self, value: ValueId) -> Result<Binding, Error> {
        let op = match self.graph.value(value).source {
            Source::Node(at) => Some(&self.graph.nodes()[at].op),
            _ => None,
        };
        let bytes = op.map_or(0, |op| moments_of(op, self.shape(value)));
        match self.plan.places.get(&value) {
            Some(place) if bytes > 0 => {
                let own = bytes_of(self.graph, value, self.precision).next_multiple_of(self.caps.alignment);
                Ok(Binding { operand: Operand::Arena(place.buffer), offset: place.offset + own, bytes })
            }
            _ => {
                let node = &self.graph.nodes()[self.node].name;
                Err(Error::Device(format!(
                    "{}: {node}: the operand's moments are not there",
                    self.graph.name
                )))
            }
        }
    }

    /// A value where there is one; else any bytes, since a binding that a kernel never reads must still exist.
    pub fn bind_or(&self, value: Option<ValueId>, other: &Binding) -> Result<Binding, Error> {
        value.map_or_else(|| Ok(other.clone()), |v| self.bind(v))
    }

    /// The elements `range` of a value, widened to where a binding may begin.
    pub fn window(&self, value: ValueId, range: Range<usize>) -> Result<Window, Error> {
        let whole = self.whole(value);
        if whole.bytes <= self.caps.max_binding {
            return Ok(Window { binding: whole, begin: 0 });
        }
        let size = self.element(value);
        let begin = (range.start as u64 * size) / self.caps.alignment * self.caps.alignment;
        let end = ((range.end as u64 * size).next_multiple_of(16)).min(whole.bytes);
        let binding = Binding { operand: whole.operand, offset: whole.offset + begin, bytes: end - begin };
        Ok(Window { binding, begin: begin / size })
    }

    /// How many rows of these values, at most, can be bound at a time. `rows` where all can.
    pub fn rows_that_fit(&self, rows: usize, values: &[ValueId]) -> usize {
        let mut fit = rows;
        for &v in values {
            let bytes = bytes_of(self.graph, v, self.precision);
            if bytes > self.caps.max_binding && rows > 0 {
                let row = bytes.div_ceil(rows as u64);
                // One alignment's worth is kept back, since a window may begin before its first row.
                fit = fit.min(((self.caps.max_binding - self.caps.alignment) / row).max(1) as usize);
            }
        }
        fit
    }

    /// The current node's scratch, `index` of those it asked for.
    pub fn scratch(&self, index: usize) -> Binding {
        let Place { buffer, offset, bytes } = self.plan.scratch[&self.node][index];
        Binding { operand: Operand::Arena(buffer), offset, bytes }
    }

    /// The run's row of the step table.
    pub fn table(&self, value: ValueId) -> Binding {
        let Operand::Port(name) = self.whole(value).operand else {
            unreachable!("the step table is an input")
        };
        Binding { operand: Operand::Table(name), offset: 0, bytes: 4 * crate::ops::StepRow::WORDS as u64 }
    }

    /// Adds a dispatch.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        variant: &'static Variant,
        overrides: &[(&'static str, f64)],
        params: P,
        bindings: Vec<Binding>,
        groups: [u32; 3],
    ) {
        debug_assert_eq!(bindings.len() + 1, variant.bindings.len(), "{}", variant.label());
        self.dispatches.push(Dispatch {
            variant,
            overrides: overrides.to_vec(),
            params: bytemuck::bytes_of(&params).to_vec(),
            bindings,
            groups,
            node: self.node,
        });
    }

    /// Workgroups of 64 threads for `count` threads, folded into two dimensions.
    pub fn flat(&self, count: usize) -> [u32; 3] {
        let groups = count.div_ceil(64).max(1) as u32;
        let x = groups.min(self.caps.max_groups);
        [x, groups.div_ceil(x), 1]
    }
}

/// How activations are stored on a device, as the shaders' define.
pub(super) fn activations(precision: Precision, caps: &Caps) -> &'static str {
    match (precision, caps.f16) {
        (Precision::F32, _) => "A_F32",
        (Precision::F16, true) => "A_F16",
        (Precision::F16, false) => "A_H16",
    }
}

/// How a weight is stored on a device, as the shaders' define.
pub(super) fn weights(graph: &Graph, value: ValueId, precision: Precision, caps: &Caps) -> &'static str {
    match (weight_dtype(graph, value, precision), caps.f16) {
        (DType::F16, true) => "W_F16",
        (DType::F16, false) => "W_H16",
        _ => "W_F32",
    }
}

fn weight_dtype(graph: &Graph, value: ValueId, precision: Precision) -> DType {
    match graph.value(value).source {
        Source::Weight(id) => graph.weights()[id.index()].dtype,
        _ => precision.dtype(),
    }
}

/// Four where all these channel counts are multiples of four, else one.
pub(super) fn vector(channels: &[usize]) -> usize {
    if channels.iter().all(|c| c.is_multiple_of(4)) { 4 } else { 1 }
}

/// A flag as an `override` sees it.
pub(super) fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
