//! The residual block of the UNet and the VAE (diffusers: `ResnetBlock2D`; He et al. 2015, arXiv:1512.03385).

use crate::Result;
use crate::blocks::{activate, add, channels, conv1x1, conv3x3, group_norm, linear};
use crate::config::Activation;
use calotype_graph::ops::Row;
use calotype_graph::{Graph, ValueId};

/// What all residual blocks of a model have in common.
pub struct Resnet {
    pub groups: usize,
    pub eps: f32,
    pub activation: Activation,
    /// The VAE knows no time.
    pub time: Option<Time>,
}

/// What the UNet knows of the time.
#[derive(Clone, Copy)]
pub struct Time {
    /// All steps' embeddings after their activation, `[steps, T]`.
    pub embeddings: ValueId,
    /// The step table, `[steps, StepRow::WORDS]`, of which the current row counts.
    pub table: ValueId,
}

impl Resnet {
    /// `[B, H, W, C]` to `[B, H, W, out]`.
    pub fn block(&self, g: &mut Graph, x: ValueId, out: usize) -> Result<ValueId> {
        let Self { groups, eps, activation, time } = *self;

        let h = group_norm(g, "norm1", x, groups, eps)?;
        let h = activate(g, h, activation)?;
        let shortcut = if channels(g, x) == out { x } else { conv1x1(g, "conv_shortcut", x, out)? };
        let mut h = conv3x3(g, "conv1", h, out)?;
        if let Some(time) = time {
            let rows = linear(g, "time_emb_proj", time.embeddings, out)?;
            let row = g.push("time", Row { x: rows, table: time.table })?;
            h = add(g, h, row)?;
        }
        let h = group_norm(g, "norm2", h, groups, eps)?;
        let h = activate(g, h, activation)?;
        let h = conv3x3(g, "conv2", h, out)?;
        add(g, shortcut, h)
    }
}
