use crate::Fill;
use calotype_graph::ops::{Op, Operation};
use calotype_graph::{Elem, Graph, Layout, Precision, Quant, Rate, ValueId};
use calotype_tensor::{DType, Shape};
use std::collections::BTreeMap;

/// How far an executor may be from the reference, as [`crate::error`] measures it.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// With f32 activations.
    pub f32: f64,
    /// With f16 activations.
    pub f16: f64,
}

impl Tolerance {
    /// Values are moved, not computed.
    pub const EXACT: Self = Self { f32: 0.0, f16: 0.0 };
    /// A few operations an element. f32: WGSL lets exp err by 3 + 2 |x| ulp, some 1e-6. f16: results are rounded
    /// to 11 bits, 4.9e-4, and a fused addition sees them unrounded.
    pub const POINTWISE: Self = Self { f32: 3e-6, f16: 1e-3 };
    /// As [`Tolerance::POINTWISE`], but WGSL's tanh is only good to 1e-5.
    pub const TANH: Self = Self { f32: 3e-5, f16: 1e-3 };
    /// Sums of up to 23,040 products. A running f32 sum of K terms errs by about K / √2 · 2⁻²⁵ terms, while the
    /// largest of many results is about 4 √K terms: √K · 5e-9, at most 8e-7. The bound leaves a factor of ten.
    pub const SUM: Self = Self { f32: 8e-6, f16: 1e-3 };

    /// The bound for a precision.
    pub fn at(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.f32,
            Precision::F16 => self.f16,
        }
    }
}

/// An op, or a few, on tensors of given shapes: correctness tests, benchmarks and FLOP counts are derived from it.
pub struct Case {
    /// The op's stem, a dot, and what is particular: `conv2d.stride_2`.
    pub name: String,
    /// What is computed. Its outputs, and then the inputs that it updates, are what is compared.
    pub graph: Graph,
    /// What tensors hold, by name: inputs as in the graph, weights as in a checkpoint.
    pub fills: BTreeMap<String, Fill>,
    /// How weight matrices and tables are stored in the checkpoint.
    pub weights: DType,
    /// Which matrices are in blocks on the device. The CPU computes with the blocks' numbers as f32, which is what other
    /// devices are held to: in f32 they multiply the same numbers, in f16 they may round them to 11 bits first.
    pub quant: Quant,
    /// The row of the step table.
    pub row: usize,
    /// How far from the reference is near enough.
    pub tolerance: Tolerance,
}

impl Case {
    /// A case from what `build` puts in its graph.
    ///
    /// # Panics
    /// Where `build` gives an op operands that it does not take.
    pub fn new(name: &str, tolerance: Tolerance, build: impl FnOnce(&mut Builder)) -> Self {
        let case = Self {
            name: name.to_string(),
            graph: Graph::new(name),
            fills: BTreeMap::new(),
            weights: DType::F32,
            quant: Quant::Off,
            row: 0,
            tolerance,
        };
        let mut builder = Builder { case };
        build(&mut builder);
        builder.case
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.graph.flops()
    }

    /// The op's name.
    pub fn stem(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The inputs that the graph updates in place.
    pub fn updated(&self) -> Vec<(String, ValueId)> {
        let updates: Vec<ValueId> = self.graph.nodes().iter().flat_map(|n| n.op.updates()).collect();
        self.graph.inputs().filter(|(_, v)| updates.contains(v)).map(|(n, v)| (n.to_string(), v)).collect()
    }
}

/// Builds a case's graph.
pub struct Builder {
    /// The case so far.
    pub case: Case,
}

impl Builder {
    /// An activation of mean 0 and spread 1.
    pub fn x<const N: usize>(&mut self, name: &str, shape: [usize; N]) -> ValueId {
        self.input(name, shape, Elem::Float, Fill::Spread { mean: 0.0, spread: 1.0 })
    }

    /// An input.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>, elem: Elem, fill: Fill) -> ValueId {
        self.case.fills.insert(name.to_string(), fill);
        self.case.graph.input(name, shape, elem, Rate::Step)
    }

    /// A `[k, n]` weight, scaled so that the product of inputs of spread 1 has spread 1.
    pub fn matrix(&mut self, name: &str, k: usize, n: usize) -> ValueId {
        let spread = 1.0 / (k.max(1) as f32).sqrt();
        self.case.fills.insert(name.to_string(), Fill::Spread { mean: 0.0, spread });
        self.case.graph.weight(&[name], [n, k], Layout::Matrix, [k, n])
    }

    /// A convolution's weight, scaled likewise.
    pub fn kernel(&mut self, name: &str, out: usize, channels: usize, kernel: [usize; 2]) -> ValueId {
        self.padded_kernel(name, [out, channels], kernel, [out, channels])
    }

    /// A convolution's weight whose channels are padded with zeros: `[out, in]` in the checkpoint, then as the
    /// device sees them.
    pub fn padded_kernel(
        &mut self,
        name: &str,
        own: [usize; 2],
        kernel: [usize; 2],
        seen: [usize; 2],
    ) -> ValueId {
        let ([kh, kw], channels) = (kernel, seen[1]);
        let spread = 1.0 / ((kh * kw * own[1]) as f32).sqrt();
        self.case.fills.insert(name.to_string(), Fill::Spread { mean: 0.0, spread });
        let layout = Layout::Conv { kernel, channels };
        self.case.graph.weight(&[name], [own[0], own[1], kh, kw], layout, [kh * kw * channels, seen[0]])
    }

    /// A bias or another vector of weights.
    pub fn vector(&mut self, name: &str, n: usize, mean: f32) -> ValueId {
        self.padded_vector(name, n, n, mean)
    }

    /// A vector of `own` weights that the device sees padded with zeros.
    pub fn padded_vector(&mut self, name: &str, own: usize, seen: usize, mean: f32) -> ValueId {
        self.case.fills.insert(name.to_string(), Fill::Spread { mean, spread: 0.2 });
        self.case.graph.weight(&[name], [own], Layout::Vector, [seen])
    }

    /// An embedding table.
    pub fn table(&mut self, name: &str, rows: usize, channels: usize) -> ValueId {
        self.case.fills.insert(name.to_string(), Fill::Spread { mean: 0.0, spread: 1.0 });
        self.case.graph.weight(&[name], [rows, channels], Layout::Table, [rows, channels])
    }

    /// Adds an op whose result is not itself compared.
    pub fn push(&mut self, op: impl Into<Op>) -> ValueId {
        let op = op.into();
        let name = format!("{}{}", op.name(), self.case.graph.nodes().len());
        let pushed = self.case.graph.push(&name, op);
        pushed.unwrap_or_else(|problem| panic!("case {}: {problem}", self.case.name))
    }

    /// Adds an op whose result is compared.
    pub fn op<O: Operation>(&mut self, op: O) -> ValueId {
        let y = self.push(op);
        let name = format!("y{}", self.case.graph.outputs().len());
        self.case.graph.output(&name, y);
        y
    }
}
