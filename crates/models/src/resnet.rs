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

/// What the UNet knows of the time, after its activation.
#[derive(Clone, Copy)]
pub enum Time {
    /// The same for all images.
    Steps {
        /// All steps' embeddings, `[steps, T]`.
        embeddings: ValueId,
        /// The step table, `[steps, StepRow::WORDS]`, of which the current row counts.
        table: ValueId,
    },
    /// The current step's, for each image its own: `[B, T]`.
    Images(ValueId),
}

impl Time {
    /// What a block makes of it: `[1 or B, out]`.
    fn project(self, g: &mut Graph, out: usize) -> Result<ValueId> {
        match self {
            Self::Steps { embeddings, table } => {
                let x = linear(g, "time_emb_proj", embeddings, out)?;
                Ok(g.push("time", Row { x, table })?)
            }
            Self::Images(embeddings) => linear(g, "time_emb_proj", embeddings, out),
        }
    }
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
            let rows = time.project(g, out)?;
            h = add(g, h, rows)?;
        }
        let h = group_norm(g, "norm2", h, groups, eps)?;
        let h = activate(g, h, activation)?;
        let h = conv3x3(g, "conv2", h, out)?;
        add(g, shortcut, h)
    }
}
