use crate::value::WeightId;
use calotype_shaders::Variant;

/// What a binding is a part of.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// One of the plan's activation buffers.
    Arena(usize),
    /// An input or output, by name.
    Port(String),
    /// A weight, by its index in the graph.
    Weight(WeightId),
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
