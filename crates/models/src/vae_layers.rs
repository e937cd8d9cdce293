//! The autoencoder's decoder behind its middle, layer by layer. Where the statistics of its group norms are known each layer is
//! a matter of neighbours, so it can be computed some rows at a time ([`crate::vae::decode`] has it in one piece).

use crate::Result;
use crate::blocks::{activate, add, channels, conv1x1, conv3x3, conv3x3_padded, size, upsample};
use crate::config::{Activation, VaeConfig};
use crate::vae::PIXEL;
use calotype_graph::ops::Affine;
use calotype_graph::{Graph, ValueId};

/// Rows above and below that a row depends on: each layer has one convolution of three by three.
pub const HALO: usize = 1;

/// What lies between two norms, or between a norm and a change of size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    kind: Kind,
    /// The block that it is of, in the decoder.
    scope: String,
    /// Channels of its input.
    pub channels: usize,
    /// Channels of what it takes beside that, where it does: the input of the layer before.
    pub beside: Option<usize>,
    /// Channels of its output.
    pub out: usize,
    /// Places of its input for each of the latents', in each direction.
    pub scale: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A residual block to its first convolution.
    First,
    /// Its second convolution and its sum.
    Second,
    /// To twice the size.
    Upsample,
    /// To the picture.
    Out,
}

/// All of them, in order.
pub fn layers(config: &VaeConfig) -> Vec<Layer> {
    let mut layers = Vec::new();
    let levels = config.block_out_channels.len();
    let mut channels = config.block_out_channels[levels - 1];
    for (block, level) in (0..levels).rev().enumerate() {
        let (out, scale) = (config.block_out_channels[level], 1 << block);
        let mut push = |kind, part: &str, channels, beside| {
            let scope = format!("up_blocks.{block}.{part}");
            layers.push(Layer { kind, scope, channels, beside, out, scale });
        };
        for resnet in 0..=config.layers_per_block {
            let part = format!("resnets.{resnet}");
            push(Kind::First, &part, channels, None);
            push(Kind::Second, &part, out, Some(channels));
            channels = out;
        }
        if level > 0 {
            push(Kind::Upsample, "upsamplers.0", out, None);
        }
    }
    let scale = config.factor();
    layers.push(Layer { kind: Kind::Out, scope: String::new(), channels, beside: None, out: PIXEL, scale });
    layers
}

impl Layer {
    /// Where the decoder has the norm's weights that it begins with, if it does.
    pub fn norm(&self) -> Option<String> {
        match self.kind {
            Kind::First => Some(format!("decoder.{}.norm1", self.scope)),
            Kind::Second => Some(format!("decoder.{}.norm2", self.scope)),
            Kind::Upsample => None,
            Kind::Out => Some("decoder.conv_norm_out".into()),
        }
    }

    /// Places of its output for each of its input's, in each direction.
    pub fn grows(&self) -> usize {
        if self.kind == Kind::Upsample { 2 } else { 1 }
    }

    /// Whether its output is the picture.
    pub fn is_last(&self) -> bool {
        self.kind == Kind::Out
    }

    /// `[B, h, w, channels]` to `[B, g·h, g·w, out]`, where g is [`Self::grows`]. `terms`, `[B, 2, channels]`, is what its norm
    /// comes to ([`Affine`]), and `beside`, `[B, h, w, beside]`, what it takes besides.
    pub fn forward(
        &self,
        g: &mut Graph,
        config: &VaeConfig,
        x: ValueId,
        (beside, terms): (Option<ValueId>, Option<ValueId>),
    ) -> Result<ValueId> {
        let activation = match self.kind {
            // diffusers has SiLU written in here, whatever the configuration's activation.
            Kind::Out => Activation::Silu,
            _ => config.act_fn,
        };
        let forward = |g: &mut Graph| {
            let x = match terms {
                Some(terms) => {
                    let none = calotype_graph::Activation::None;
                    let x = g.push("norm", Affine { x, terms, activation: none })?;
                    activate(g, x, activation)?
                }
                None => x,
            };
            let y = match self.kind {
                Kind::First => conv3x3(g, "conv1", x, self.out)?,
                Kind::Second => conv3x3(g, "conv2", x, self.out)?,
                Kind::Upsample => upsample(g, "conv", x, size(g, x).map(|side| 2 * side))?,
                Kind::Out => conv3x3_padded(g, "conv_out", x, config.out_channels, PIXEL)?,
            };
            let Some(beside) = beside else { return Ok(y) };
            let own = channels(g, beside) == self.out;
            let shortcut = if own { beside } else { conv1x1(g, "conv_shortcut", beside, self.out)? };
            add(g, shortcut, y)
        };
        g.scope("decoder", |g| match self.kind {
            Kind::Out => forward(g),
            _ => g.scope(&self.scope, forward),
        })
    }
}
