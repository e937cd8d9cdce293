//! What an op's lowering is written in: names of kernels, windows on values, the growing list of launches. It knows values
//! and plans, but neither graphs nor ops, which are built on it.

mod gemm;
mod pointwise;

use crate::caps::Caps;
use crate::cuts::product::{Cut, Product};
use crate::error::Error;
use crate::places::{Place, Plan};
use crate::precision::Precision;
use crate::recording::{Binding, Dispatch, Operand};
use crate::value::{Elem, Layout, Source, Value, ValueId, Weight};
use calotype_field::Field;
use calotype_shaders::{Step, Variant};
use calotype_tensor::{Encoding, Shape};
pub(crate) use gemm::{Half, launch};
pub(crate) use pointwise::Part;
use std::ops::{Deref, Range};

/// How an op runs on a device.
pub(crate) trait Lower {
    /// The op as a product whose kernel can be cut up in more than one way. None where it is no such thing.
    fn product(&self, _stored: &Stored<'_>, _out: ValueId) -> Option<Product> {
        None
    }

    /// Bytes that it needs for itself while it runs, each range in a buffer of its own, by its output's shape. Slices of a
    /// product's k have theirs besides.
    fn scratch(&self, _out: Shape) -> Vec<u64> {
        Vec::new()
    }

    /// Bytes of the moments that it leaves behind its output, from the next aligned offset on.
    fn moments(&self, _out: Shape) -> u64 {
        0
    }

    /// Adds its launches, which write `out`.
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error>;
}

/// How a graph's values are stored on a device.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    values: &'a [Value],
    weights: &'a [Weight],
    precision: Precision,
    pub caps: &'a Caps,
}

impl<'a> Stored<'a> {
    pub fn new(values: &'a [Value], weights: &'a [Weight], precision: Precision, caps: &'a Caps) -> Self {
        Self { values, weights, precision, caps }
    }

    fn value(&self, value: ValueId) -> &'a Value {
        &self.values[value.index()]
    }

    pub fn shape(&self, value: ValueId) -> Shape {
        self.value(value).shape
    }

    /// How activations are stored, as the shaders' define.
    pub fn a(&self) -> &'static str {
        match (self.precision, self.caps.f16) {
            (Precision::F32, _) => "A_F32",
            (Precision::F16, true) => "A_F16",
            (Precision::F16, false) => "A_H16",
        }
    }

    /// How a weight is stored, as the shaders' define.
    pub fn w(&self, value: ValueId) -> &'static str {
        let stored = match self.value(value).source {
            Source::Weight(id) => self.weights[id.index()].stored,
            _ => self.precision.dtype().into(),
        };
        match (stored, self.by_columns(value), self.caps.f16) {
            (Encoding::Q8_0, true, _) => "W_N8",
            (Encoding::Q8_0, false, _) => "W_Q8",
            (Encoding::Q4_0, true, _) => "W_N4",
            (Encoding::Q4_0, false, _) => "W_Q4",
            (Encoding::F16, true, true) => "W_N16",
            (Encoding::F16, false, true) => "W_F16",
            (Encoding::F16, _, false) => "W_H16",
            _ => "W_F32",
        }
    }

    fn by_columns(&self, value: ValueId) -> bool {
        match self.value(value).source {
            Source::Weight(id) => by_columns(&self.weights[id.index()], self.shape(value), self.caps),
            _ => false,
        }
    }

    fn bytes(&self, value: ValueId) -> u64 {
        bytes_of(self.value(value), self.weights, self.precision)
    }

    /// Bytes of a value's element, where it is in no blocks: those are bound as a whole.
    fn element(&self, value: ValueId) -> u64 {
        encoding(self.value(value), self.weights, self.precision).block()[1] as u64
    }

    /// Where a value's channels lie: in which computed value, from which channel on.
    fn root(&self, value: ValueId) -> (ValueId, usize) {
        match self.value(value).source {
            Source::Columns { of, from } => {
                let (root, begin) = self.root(of);
                (root, begin + from)
            }
            _ => (value, 0),
        }
    }
}

/// Whether a matrix, as ops see it in `seen`, lies column by column on a device: in halves or blocks where there are
/// matrices to multiply it with, which are read along k. Not where channels are no multiples of four: those kernels have no
/// vectors.
pub fn by_columns(weight: &Weight, seen: Shape, caps: &Caps) -> bool {
    let along = match weight.layout {
        Layout::Matrix => seen.rows(),
        Layout::Conv { channels, .. } => channels,
        _ => return false,
    };
    // Where shaders run in software the tile is one that knows no such order.
    caps.f16
        && !caps.software
        && caps.matrices.is_some()
        && weight.stored != Encoding::F32
        && vector(&[along, seen.channels()]) == 4
}

/// How a value's elements are stored.
fn encoding(value: &Value, weights: &[Weight], precision: Precision) -> Encoding {
    match (value.elem, &value.source) {
        (_, Source::Weight(id)) => weights[id.index()].stored,
        (Elem::Float, _) => precision.dtype().into(),
        (Elem::F32 | Elem::U32, _) => Encoding::F32,
    }
}

/// Bytes a value takes in storage.
pub(crate) fn bytes_of(value: &Value, weights: &[Weight], precision: Precision) -> u64 {
    let [elements, bytes] = encoding(value, weights, precision).block();
    ((value.shape.numel() / elements) as u64).saturating_mul(bytes as u64)
}

/// What the ops' lowerings share.
pub(crate) struct Context<'a> {
    stored: Stored<'a>,
    plan: &'a Plan,
    outputs: &'a [(String, ValueId)],
    graph: &'a str,
    node: usize,
    path: &'a str,
    dispatches: Vec<Dispatch>,
}

impl<'a> Deref for Context<'a> {
    type Target = Stored<'a>;

    fn deref(&self) -> &Stored<'a> {
        &self.stored
    }
}

/// A binding on a part of a value, and what a shader adds to indices of the whole to land in it.
pub(crate) struct Window {
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
    /// For the graph called `graph`, whose outputs have these names.
    pub fn new(stored: Stored<'a>, plan: &'a Plan, graph: &'a str, outputs: &'a [(String, ValueId)]) -> Self {
        Self { stored, plan, outputs, graph, node: 0, path: "", dispatches: Vec::new() }
    }

    /// What is added from here on belongs to the node of this index and path.
    pub fn begin(&mut self, node: usize, path: &'a str) {
        (self.node, self.path) = (node, path);
    }

    pub fn finish(self) -> Vec<Dispatch> {
        self.dispatches
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
            Error::Device(format!(
                "{}: {}: there is no kernel {stem} {defines:?} (channel counts that are no multiple of four \
                 need {} f32 or a device with shader-f16)",
                self.graph,
                self.path,
                Field::Precision
            ))
        })
    }

    /// The kernel `stem` for vectors of `vector` elements.
    pub fn vectored(&self, stem: &str, vector: usize) -> Result<&'static Variant, Error> {
        self.variant(stem, &[self.a(), if vector == 4 { "VEC4" } else { "VEC1" }])
    }

    fn whole(&self, value: ValueId) -> Binding {
        let bytes = self.bytes(value);
        if let Some(place) = self.plan.places.get(&value) {
            return Binding { operand: Operand::Arena(place.buffer), offset: place.offset, bytes };
        }
        let operand = match &self.value(value).source {
            Source::Weight(id) => Operand::Weight(*id),
            Source::Input { name, .. } => Operand::Port(name.clone()),
            Source::Node(_) | Source::Columns { .. } => {
                let name = self.outputs.iter().find(|(_, v)| *v == value).map(|(n, _)| n.clone());
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
            let node = format!("{}: {}", self.graph, self.path);
            return Err(Error::BufferLimit { node, needed: binding.bytes, limit: self.caps.max_binding });
        }
        Ok(binding)
    }

    /// A value, or the channels of one, for a kernel that reads by strides: what to bind, the elements from one row to
    /// the next, and the first element.
    pub fn columns(&self, value: ValueId) -> Result<(Binding, usize, usize), Error> {
        let (root, from) = self.root(value);
        Ok((self.bind(root)?, self.shape(root).channels(), from))
    }

    /// The moments of a value's rows, which the product that yields it leaves behind it.
    pub fn moments(&self, value: ValueId) -> Result<Binding, Error> {
        let missing =
            || Error::Device(format!("{}: {}: the operand's moments are not there", self.graph, self.path));
        let Place { buffer, offset, bytes } = *self.plan.moments.get(&value).ok_or_else(missing)?;
        Ok(Binding { operand: Operand::Arena(buffer), offset, bytes })
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
            let bytes = self.bytes(v);
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
        Binding { operand: Operand::Table(name), offset: 0, bytes: 4 * Step::WORDS as u64 }
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

/// Four where all these channel counts are multiples of four, else one.
pub(crate) fn vector(channels: &[usize]) -> usize {
    if channels.iter().all(|c| c.is_multiple_of(4)) { 4 } else { 1 }
}

/// A flag as an `override` sees it.
pub(crate) fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
