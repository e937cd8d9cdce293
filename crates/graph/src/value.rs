use calotype_tensor::{Encoding, HostTensor, Shape};

/// A value of a graph: an input, a weight or a node's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

/// A weight of a graph, as an index into [`crate::Graph::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub(crate) u32);

impl ValueId {
    /// The index into [`crate::Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl WeightId {
    /// The index into [`crate::Graph::weights`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an element of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// An activation, stored as the run's precision says.
    Float,
    /// Always f32: the sampler's state, which must not lose digits from step to step.
    F32,
    /// An unsigned integer: ids, pixels, counters.
    U32,
}

/// How often a value changes. What changes less often than the steps is computed once, by a graph of its own
/// (see [`crate::passes::split`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rate {
    /// The same for all steps of a picture.
    Prompt,
    /// Another at each step.
    Step,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// From outside, by name.
    Input {
        /// The port's name.
        name: String,
        /// How often it changes.
        rate: Rate,
    },
    /// The model's weights.
    Weight(WeightId),
    /// A node's output, by the node's index.
    Node(usize),
    /// Some channels of another value, read where they lie: those from `from` on, as many as the shape says. Passes
    /// make these, and only for ops that read by strides ([`crate::Graph::columns`]).
    Columns {
        /// The value that is computed.
        of: ValueId,
        /// The first channel.
        from: usize,
    },
}

/// A tensor of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its logical shape.
    pub shape: Shape,
    /// What its elements are.
    pub elem: Elem,
    /// Where it comes from.
    pub source: Source,
}

/// How a checkpoint's tensor is laid out on the device. Weights are repacked once, as they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// As it is, in f32: biases, norm weights. Padded with zeros to the value's length.
    Vector,
    /// As it is, in the weights' own type: embedding tables.
    Table,
    /// `[N, K]` (or `[N, K, 1, 1]`) to `[K, N]`, so that a product reads columns side by side. N and K are padded
    /// with zeros to the value's.
    Matrix,
    /// `[O, I, KH, KW]` to `[KH · KW · I, O]`, taps outermost. I and O are padded with zeros to the value's.
    Conv {
        /// Rows and columns of the kernel.
        kernel: [usize; 2],
        /// Input channels after padding.
        channels: usize,
    },
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Names under which checkpoints hold it, the current one first; the first that is there is used.
    pub names: Vec<String>,
    /// Its shape in the checkpoint.
    pub shape: Shape,
}

/// What a graph takes from a checkpoint, as one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The tensors: one as a rule; matrices and vectors of several layers may lie side by side.
    pub tensors: Vec<Tensor>,
    /// How it is laid out on the device.
    pub layout: Layout,
    /// Of a matrix' columns (a vector's elements), the two halves alternate on the device, four at a time: values
    /// beside the gates that they are multiplied by.
    pub gated: bool,
    /// The values themselves where no checkpoint holds them, such as a sinusoid's frequencies.
    pub constant: Option<HostTensor>,
    /// How it is stored on the device, as f32, as f16 or in blocks of q8_0 or q4_0: the graph says f32 for vectors, the
    /// checkpoint and the precision decide the rest (see [`crate::Graph::resolve`], [`crate::Graph::quantize`]).
    pub stored: Encoding,
}

impl Weight {
    /// The tensors' names, for messages.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.tensors.iter().map(|t| t.names[0].as_str()).collect();
        names.join("+")
    }
}
