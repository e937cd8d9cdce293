//! The ops, one file each under the stem that it shares with its shader. Every function writes all of its output
//! `y` and fails only for values it cannot know beforehand, such as a token id past the table's end.

mod activation;
mod add;
mod attention;
mod concat;
mod conv2d;
mod embedding;
mod epilogue;
mod exp;
mod from_latents;
mod geglu;
mod group_norm;
mod layer_norm;
mod matmul;
mod range;
mod row;
mod sampler_step;
mod scale;
mod timestep_embedding;
mod to_rgba8;
mod upsample;

use crate::program::Values;
use calotype_graph::Op;
use calotype_graph::ops::Shapes;

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

/// Computes a node.
pub(crate) fn run(op: &Op, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    match op {
        Op::Embedding(op) => embedding::run(op, values, y)?,
        Op::Matmul(op) => matmul::run(op, values, y)?,
        Op::Conv2d(op) => conv2d::run(op, values, y)?,
        Op::GroupNorm(op) => group_norm::run(op, values, y)?,
        Op::LayerNorm(op) => layer_norm::run(op, values, y),
        Op::Attention(op) => attention::run(op, values, y)?,
        Op::Activate(op) => activation::run(op, values, y),
        Op::Geglu(op) => geglu::run(op, values, y),
        Op::Add(op) => add::run(op, values, y),
        Op::Scale(op) => scale::run(op, values, y),
        Op::Concat(op) => concat::run(op, values, y),
        Op::Upsample(op) => upsample::run(op, values, y),
        Op::TimestepEmbedding(op) => timestep_embedding::run(op, values, y),
        Op::Row(op) => row::run(op, values, y)?,
        Op::SamplerStep(op) => sampler_step::run(op, values, y)?,
        Op::FromLatents(op) => from_latents::run(op, values, y),
        Op::ToRgba8(op) => to_rgba8::run(op, values, y),
        Op::Range(op) => range::run(op, values),
    }
    Ok(())
}
