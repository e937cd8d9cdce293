//! Attention and the transformer of the UNet (diffusers: `Attention`, `Transformer2DModel`, `BasicTransformerBlock`).

use crate::Result;
use crate::blocks::{add, channels, conv1x1, group_norm, layer_norm, linear, linear_unbiased};
use crate::changes::{Weakened, Weakening};
use crate::config::UNetConfig;
use calotype_graph::ops::{Attention, Geglu, Splice};
use calotype_graph::{Activation, Graph, ValueId};

/// `softmax(q kᵀ / √size) v` over heads that lie side by side in the channels.
pub fn scaled_dot_product(
    g: &mut Graph,
    [q, k, v]: [ValueId; 3],
    heads: usize,
    causal: bool,
) -> Result<ValueId> {
    let size = channels(g, q) / heads;
    let scale = (size as f32).sqrt().recip();
    Ok(g.push("attention", Attention { q, k, v, heads, scale, causal })?)
}

/// Attention of `x`, `[B, …, C]`, to `context`, `[B, …, D]`; some images may have the values alone. The UNet's projections have no
/// biases but the last.
fn attention(
    g: &mut Graph,
    [x, context]: [ValueId; 2],
    heads: usize,
    blind: Option<Weakened>,
) -> Result<ValueId> {
    let c = channels(g, x);
    let q = linear_unbiased(g, "to_q", x, c)?;
    let k = linear_unbiased(g, "to_k", context, c)?;
    let v = linear_unbiased(g, "to_v", context, c)?;
    let h = scaled_dot_product(g, [q, k, v], heads, false)?;
    let h = spliced(g, "values", [h, v], blind)?;
    linear(g, "to_out.0", h, c)
}

/// x, of which images that are weakened have another value's, where there are any.
fn spliced(
    g: &mut Graph,
    name: &str,
    [x, other]: [ValueId; 2],
    weakened: Option<Weakened>,
) -> Result<ValueId> {
    let Some(Weakened { first, images, .. }) = weakened else { return Ok(x) };
    Ok(g.push(name, Splice { x, other, first, images })?)
}

/// A level's transformer over a feature map.
pub struct Transformer2d {
    pub heads: usize,
    pub layers: usize,
    pub groups: usize,
    /// Whether it is entered and left through linear layers rather than 1×1 convolutions. Their products are alike;
    /// only the shape in the checkpoint differs.
    pub linear_projection: bool,
    /// What the prompt says, `[B, T, D]`.
    pub states: ValueId,
    /// Images whose blocks are made worse.
    pub weakened: Option<Weakened>,
}

impl Transformer2d {
    /// `[B, H, W, C]` to the same: every pixel is a token.
    pub fn forward(&self, g: &mut Graph, x: ValueId) -> Result<ValueId> {
        let project = if self.linear_projection { linear } else { conv1x1 };
        let c = channels(g, x);
        let h = group_norm(g, "norm", x, self.groups, UNetConfig::TRANSFORMER_NORM_EPS)?;
        let mut h = project(g, "proj_in", h, c)?;
        for layer in 0..self.layers {
            h = g.scope(&format!("transformer_blocks.{layer}"), |g| {
                let all = self.block(g, h)?;
                spliced(g, "passed_over", [all, h], self.weakened(Weakening::Blocks))
            })?;
        }
        let h = project(g, "proj_out", h, c)?;
        add(g, x, h)
    }

    fn weakened(&self, by: Weakening) -> Option<Weakened> {
        self.weakened.filter(|weakened| weakened.by == by)
    }

    /// Attention to the picture, attention to the text, and a feed-forward layer, each on its own norm and added.
    fn block(&self, g: &mut Graph, x: ValueId) -> Result<ValueId> {
        let h = layer_norm(g, "norm1", x, UNetConfig::LAYER_NORM_EPS)?;
        let blind = self.weakened(Weakening::Attention);
        let h = g.scope("attn1", |g| attention(g, [h, h], self.heads, blind))?;
        let x = add(g, x, h)?;

        let h = layer_norm(g, "norm2", x, UNetConfig::LAYER_NORM_EPS)?;
        let h = g.scope("attn2", |g| attention(g, [h, self.states], self.heads, None))?;
        let x = add(g, x, h)?;

        let h = layer_norm(g, "norm3", x, UNetConfig::LAYER_NORM_EPS)?;
        let h = g.scope("ff", |g| feed_forward(g, h))?;
        add(g, x, h)
    }
}

/// Four times as wide inside, half of it gates (diffusers: `FeedForward` with `geglu`).
fn feed_forward(g: &mut Graph, x: ValueId) -> Result<ValueId> {
    const WIDER: usize = 4;
    let c = channels(g, x);
    let h = linear(g, "net.0.proj", x, 2 * WIDER * c)?;
    let h = g.push("net.0", Geglu { x: h, activation: Activation::Gelu })?;
    linear(g, "net.2", h, c)
}
