//! From a planned graph to a [`Recording`]: which kernel runs each node on this device, over which bytes, with
//! how many workgroups. Plain data: it can be printed, diffed and counted with no GPU present.

mod attention;
mod bind;
mod conv2d;
mod cuts;
mod elementwise;
mod gemm;
mod matmul;
mod norm;
mod steps;
mod tiles;

use crate::ops::{Op, Shapes};
use crate::plan::Plan;
use crate::{Error, Graph, Precision, ValueId};
use bind::Context;
use calotype_shaders::Variant;
use calotype_tensor::{DType, Shape};
pub(crate) use cuts::cuts;
pub use cuts::{Cut, Product, Tuned, candidates, cut, estimated, time};
use std::sync::Arc;
pub use tiles::{Matrices, Tier, at_once};

/// What lowering must know of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// Whether shaders may use f16.
    pub f16: bool,
    /// Whether kernels sum across subgroups.
    pub subgroups: bool,
    /// The cooperative matrices that products use.
    pub matrices: Option<Matrices>,
    /// Of the ways to cut up a product ([`candidates`]) use the one of this number only, or the last where there are
    /// fewer: how each is tried. A graph's launches are not held to any number then.
    pub only_cut: Option<usize>,
    /// How products are best cut up, as far as that was measured; for others there is an estimate.
    pub tuned: Arc<Tuned>,
    /// Whether more may yet be measured, and what is planned change by it.
    pub tunes: bool,
    /// About how many workgroups of a product the device works on at a time: the estimates' notion of its size.
    pub at_once: usize,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// The largest storage binding, in bytes.
    pub max_binding: u64,
    /// What offsets of bindings must be multiples of, in bytes.
    pub alignment: u64,
    /// Workgroups a dimension of a dispatch holds at most.
    pub max_groups: u32,
    /// How it computes in the host's memory, where it is no GPU.
    pub host: Option<Host>,
    /// Whether shaders run in software, on a processor's vector units: products then take the tile made for those.
    pub software: bool,
}

impl Default for Caps {
    /// What every WebGPU device has.
    fn default() -> Self {
        Self {
            f16: false,
            subgroups: false,
            matrices: None,
            only_cut: None,
            tuned: Arc::default(),
            tunes: false,
            at_once: 128,
            workgroup_bytes: 16 << 10,
            max_buffer: 256 << 20,
            max_binding: 128 << 20,
            alignment: 256,
            max_groups: 65_535,
            host: None,
            software: false,
        }
    }
}

/// An executor that computes with plain code in the host's memory, as its memory is planned: all numbers are f32 there.
#[derive(Clone, Copy)]
pub struct Host {
    /// Numbers of scratch that an op takes while it runs, in the order in which it asks for them.
    pub scratch: fn(&Op, &dyn Shapes) -> Vec<usize>,
    /// Threads that it computes on.
    pub threads: usize,
    /// Bytes that its threads and its libraries take besides.
    pub overhead: u64,
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.scratch, other.scratch)
            && (self.threads, self.overhead) == (other.threads, other.overhead)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Caps {
    /// Bytes that elements take there.
    pub fn bytes(&self, shape: Shape, dtype: DType) -> u64 {
        shape.bytes(if self.host.is_some() { DType::F32 } else { dtype })
    }
}

/// What a binding is a part of.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// One of the plan's activation buffers.
    Arena(usize),
    /// An input or output, by name.
    Port(String),
    /// A weight, by its index in the graph.
    Weight(crate::WeightId),
    /// The step table's row, a uniform bound at the offset of the run's row.
    Table(String),
}

/// A range of bytes bound to a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Of what.
    pub operand: Operand,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which kernel.
    pub variant: &'static Variant,
    /// Values of its `override` constants.
    pub overrides: Vec<(&'static str, f64)>,
    /// Its `struct Params`.
    pub params: Vec<u8>,
    /// Its bindings from number 1 on (number 0 is the parameters).
    pub bindings: Vec<Binding>,
    /// Workgroups along x, y, z.
    pub groups: [u32; 3],
    /// The node it belongs to, by index.
    pub node: usize,
}

/// A graph as launches, in order.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The graph's name.
    pub name: String,
    /// The launches.
    pub dispatches: Vec<Dispatch>,
    /// Each node's path, by index.
    pub nodes: Vec<String>,
}

/// Bytes a node needs for itself while it runs, each range in a buffer of its own.
pub(crate) fn scratch(
    op: &Op,
    shapes: &dyn Shapes,
    output: ValueId,
    cut: Option<&(Product, Cut)>,
) -> Vec<u64> {
    match op {
        Op::GroupNorm(op) => norm::scratch(op, shapes.shape(output)),
        _ => cut.and_then(|(product, cut)| cut.scratch(product)).into_iter().collect(),
    }
}

/// Lowers a graph under a plan made for the same precision and device.
pub fn lower(graph: &Graph, plan: &Plan, precision: Precision, caps: &Caps) -> Result<Recording, Error> {
    let mut cx = Context::new(graph, plan, precision, caps);
    for (index, node) in graph.nodes().iter().enumerate() {
        cx.begin(index);
        let out = node.output;
        match &node.op {
            Op::Matmul(op) => matmul::lower(&mut cx, op, out)?,
            Op::Conv2d(op) => conv2d::lower(&mut cx, op, out)?,
            Op::Attention(op) => attention::lower(&mut cx, op, out)?,
            Op::GroupNorm(op) => norm::lower_group(&mut cx, op, out)?,
            Op::LayerNorm(op) => norm::lower_layer(&mut cx, op, out)?,
            Op::Activate(op) => elementwise::activate(&mut cx, op, out)?,
            Op::Geglu(op) => elementwise::geglu(&mut cx, op, out)?,
            Op::Add(op) => elementwise::add(&mut cx, op, out)?,
            Op::Scale(op) => elementwise::scale(&mut cx, op, out)?,
            Op::Concat(op) => elementwise::concat(&mut cx, op, out)?,
            Op::Upsample(op) => elementwise::upsample(&mut cx, op, out)?,
            Op::Embedding(op) => steps::embedding(&mut cx, op, out)?,
            Op::TimestepEmbedding(op) => steps::timestep_embedding(&mut cx, op, out)?,
            Op::Row(op) => steps::row(&mut cx, op, out)?,
            Op::SamplerStep(op) => steps::sampler_step(&mut cx, op, out)?,
            Op::FromLatents(op) => steps::from_latents(&mut cx, op, out)?,
            Op::ToRgba8(op) => steps::to_rgba8(&mut cx, op, out)?,
            Op::Range(op) => steps::range(&mut cx, op)?,
        }
    }
    Ok(cx.finish())
}
