//! The ops, one file each under the stem that it shares with its shader. Every function writes all of its output
//! `y` and fails only for values it cannot know beforehand, such as a token id past the table's end.

mod epilogue;
mod exp;

use crate::values::Values;
use calotype_graph::ops::Shapes;
use calotype_graph::{Op, each_op};

/// Elements that a thread takes at a time where any element can be computed alone.
const GRAIN: usize = 1 << 14;

/// Numbers of scratch that an op takes, in the order in which it asks for them.
pub(crate) fn scratch(op: &Op, shapes: &dyn Shapes) -> Vec<usize> {
    match op {
        Op::Matmul(op) => matmul::scratch(op, shapes),
        Op::Conv2d(op) => conv2d::scratch(op, shapes),
        Op::GroupNorm(op) => concat::scratch(op.x, op.beside, shapes).into_iter().collect(),
        Op::Attention(op) => attention::scratch(op, shapes),
        _ => Vec::new(),
    }
}

macro_rules! functions {
    ($($stem:ident $name:ident,)*) => {
        $(mod $stem;)*

        /// Computes a node.
        pub(crate) fn run(op: &Op, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
            match op { $(Op::$name(op) => $stem::run(op, values, y)),* }
        }
    };
}

each_op!(functions);
