//! The ops. Each file holds one: its operands, its shape rule and its cost; the shader, the CPU function and the
//! test case of the same stem do the rest.

mod add;
mod attention;
mod concat;
mod conv2d;
mod embedding;
mod latents;
mod matmul;
mod norm;
mod pointwise;
mod row;
mod sampler_step;
mod timestep_embedding;

pub use add::Add;
pub use attention::Attention;
pub use concat::Concat;
pub use conv2d::{Conv2d, Padding};
pub use embedding::Embedding;
pub use latents::{Found, FromLatents, Range, ToRgba8};
pub use matmul::{Matmul, RowNorm};
pub use norm::{GroupNorm, LayerNorm};
pub use pointwise::{Activate, Activation, Geglu, Scale, Upsample};
pub use row::Row;
pub use sampler_step::{BASIS, REGISTERS, SamplerStep, StepRow};
pub use timestep_embedding::TimestepEmbedding;

use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// What an op needs to know of its operands.
pub trait Shapes {
    /// The shape of a value.
    fn shape(&self, value: ValueId) -> Shape;
}

/// One op. `operands` lists its values in the order in which its fields stand; `infer` gives the output's shape
/// and elements, or says what does not fit.
pub trait Operation: Clone + Into<Op> {
    /// The op's name: the stem it shares with its shader and its CPU function.
    const NAME: &'static str;

    /// Calls `visit` on every operand, which it may replace.
    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId));

    /// The output's shape and elements.
    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String>;

    /// Floating-point operations, a multiply and an add counted as two. Pointwise ops count as none.
    fn flops(&self, _shapes: &dyn Shapes) -> u64 {
        0
    }

    /// Operands that the op updates in place.
    fn updates(&self) -> Vec<ValueId> {
        Vec::new()
    }

    /// Whether it gives something else at each step even if no operand changes.
    fn steps(&self) -> bool {
        !self.updates().is_empty()
    }
}

macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        /// Any op.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op { $($name($name)),* }

        impl Op {
            /// The op's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $name::NAME),* }
            }

            /// Calls `visit` on every operand, which it may replace.
            pub fn visit_operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
                match self { $(Self::$name(op) => op.operands(visit)),* }
            }

            /// The output's shape and elements.
            pub fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
                match self { $(Self::$name(op) => op.infer(shapes)),* }
            }

            /// Floating-point operations.
            pub fn flops(&self, shapes: &dyn Shapes) -> u64 {
                match self { $(Self::$name(op) => op.flops(shapes)),* }
            }

            /// Operands that the op updates in place.
            pub fn updates(&self) -> Vec<ValueId> {
                match self { $(Self::$name(op) => op.updates()),* }
            }

            /// Whether it gives something else at each step even if no operand changes.
            pub fn steps(&self) -> bool {
                match self { $(Self::$name(op) => op.steps()),* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Self::$name(op) }
        })*
    };
}

ops!(
    Embedding,
    Matmul,
    Conv2d,
    GroupNorm,
    LayerNorm,
    Attention,
    Activate,
    Geglu,
    Add,
    Scale,
    Concat,
    Upsample,
    TimestepEmbedding,
    Row,
    SamplerStep,
    FromLatents,
    ToRgba8,
    Range,
);

impl Op {
    /// The operands, in order.
    pub fn operands(&self) -> Vec<ValueId> {
        let mut all = Vec::new();
        self.clone().visit_operands(&mut |v| all.push(*v));
        all
    }
}

/// `Err` with `problem` unless `ok`.
fn ensure(ok: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if ok { Ok(()) } else { Err(problem()) }
}
