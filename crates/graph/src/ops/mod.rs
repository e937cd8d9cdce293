//! The ops, one file each: its operands, its shape rule, its cost, and its launches on a device; the shader, the CPU
//! function and the test cases of the same stem do the rest.

use crate::cuts::product::Product;
use crate::error::Error;
use crate::launch::{Context, Lower, Stored};
use crate::value::{Elem, ValueId};
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

/// The list of ops: calls the macro `$then` with each one's stem and type. The stem is the name of its file here, among
/// the CPU's functions, the shaders and the test cases.
#[macro_export]
macro_rules! each_op {
    ($then:ident) => {
        $then! {
            activation Activate,
            add Add,
            affine Affine,
            attention Attention,
            concat Concat,
            conv2d Conv2d,
            embedding Embedding,
            free_u FreeConcat,
            from_latents FromLatents,
            geglu Geglu,
            group_norm GroupNorm,
            layer_norm LayerNorm,
            matmul Matmul,
            range Range,
            row Row,
            sampler_step SamplerStep,
            scale Scale,
            splice Splice,
            timestep_embedding TimestepEmbedding,
            to_rgba8 ToRgba8,
            upsample Upsample,
        }
    };
}

macro_rules! ops {
    ($($stem:ident $name:ident,)*) => {
        $(mod $stem;
        pub use $stem::*;)*

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

        impl Lower for Op {
            fn product(&self, stored: &Stored<'_>, out: ValueId) -> Option<Product> {
                match self { $(Self::$name(op) => op.product(stored, out)),* }
            }

            fn scratch(&self, out: Shape) -> Vec<u64> {
                match self { $(Self::$name(op) => op.scratch(out)),* }
            }

            fn moments(&self, out: Shape) -> u64 {
                match self { $(Self::$name(op) => op.moments(out)),* }
            }

            fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
                match self { $(Self::$name(op) => op.lower(cx, out)),* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Self::$name(op) }
        })*
    };
}

each_op!(ops);

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
