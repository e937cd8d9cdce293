//! CLIP's text transformer (Radford et al. 2021, arXiv:2103.00020; transformers: `CLIPTextModel`).

use crate::Result;
use crate::attention::scaled_dot_product;
use crate::blocks::{activate, add, layer_norm, linear, linear_unbiased};
use crate::config::{ClipTextConfig, TextEncoder};
use calotype_graph::ops::Embedding;
use calotype_graph::{Elem, Graph, Layout, Rate, ValueId};

/// What a prompt says, as the UNet attends to it.
///
/// Input `ids`, `[batch, T]` u32, where T is the longest sequence; outputs `states`, `[batch, T, hidden_size]`, and of
/// encoders that project `pooled`, `[batch, T, projection_dim]`: each place as if the prompt ended there.
///
/// Stable Diffusion 1 takes the states after the final layer norm, SDXL those before the last layer. Stable Diffusion 2 wants
/// its encoder's penultimate layer normalised, and ships the encoder without the last, so that it is as the first.
pub fn text_encoder(encoder: &TextEncoder, batch: usize) -> Result<Graph> {
    let mut g = Graph::new("text_encoder");
    let ids = g.input("ids", [batch, encoder.clip.max_position_embeddings], Elem::U32, Rate::Prompt);
    let ClipOutputs { states, pooled } = encode(&mut g, encoder, (ids, None))?;
    g.output("states", states);
    pooled.iter().for_each(|pooled| g.output("pooled", *pooled));
    Ok(g)
}

/// What is taken of a text encoder.
pub struct ClipOutputs {
    /// `[B, T, hidden_size]`.
    pub states: ValueId,
    /// `[B, T, projection_dim]`.
    pub pooled: Option<ValueId>,
}

/// [`text_encoder`] inside a graph that does more, of `[B, T]` ids, and of `[N, hidden_size]` that the ids from `vocab_size` on
/// stand for, where words were added.
pub fn encode(g: &mut Graph, encoder: &TextEncoder, ids: (ValueId, Option<ValueId>)) -> Result<ClipOutputs> {
    let (states, last) = g.scope("text_model", |g| forward(g, encoder, ids))?;
    let project = |width| linear_unbiased(g, "text_projection", last, width);
    let pooled = encoder.pooled.map(project).transpose()?;
    Ok(ClipOutputs { states, pooled })
}

/// The states that are wanted, and those after the final layer norm: the same where nobody wants these.
fn forward(
    g: &mut Graph,
    encoder: &TextEncoder,
    ids: (ValueId, Option<ValueId>),
) -> Result<(ValueId, ValueId)> {
    let TextEncoder { clip: config, penultimate, pooled, .. } = encoder;
    // 1. Tokens and their positions.
    let mut x = g.scope("embeddings", |g| embeddings(g, config, ids))?;
    // 2. Transformer.
    let mut before = x;
    for layer in 0..config.num_hidden_layers {
        before = x;
        let is_last = layer + 1 == config.num_hidden_layers;
        if is_last && *penultimate && pooled.is_none() {
            return Ok((x, x));
        }
        x = g.scope(&format!("encoder.layers.{layer}"), |g| encoder_layer(g, config, x))?;
    }
    // 3. Out.
    let last = layer_norm(g, "final_layer_norm", x, config.layer_norm_eps)?;
    Ok((if *penultimate { before } else { last }, last))
}

/// `[B, T]` ids to `[B, T, C]`.
fn embeddings(
    g: &mut Graph,
    config: &ClipTextConfig,
    (ids, added): (ValueId, Option<ValueId>),
) -> Result<ValueId> {
    let mut table = |name: &str, rows: usize| {
        let shape = [rows, config.hidden_size];
        g.weight(&[name], shape, Layout::Table, shape)
    };
    let tokens = table("token_embedding.weight", config.vocab_size);
    let positions = table("position_embedding.weight", config.max_position_embeddings);
    Ok(g.push("embedding", Embedding { ids, table: tokens, added, positions: Some(positions) })?)
}

/// `[B, T, C]` to the same (transformers: `CLIPEncoderLayer`).
fn encoder_layer(g: &mut Graph, config: &ClipTextConfig, x: ValueId) -> Result<ValueId> {
    let h = layer_norm(g, "layer_norm1", x, config.layer_norm_eps)?;
    let h = g.scope("self_attn", |g| self_attention(g, config, h))?;
    let x = add(g, x, h)?;

    let h = layer_norm(g, "layer_norm2", x, config.layer_norm_eps)?;
    let h = g.scope("mlp", |g| feed_forward(g, config, h))?;
    add(g, x, h)
}

/// Causal: a token sees those before it, as in the language models that CLIP's encoder was modelled on.
fn self_attention(g: &mut Graph, config: &ClipTextConfig, x: ValueId) -> Result<ValueId> {
    let c = config.hidden_size;
    let q = linear(g, "q_proj", x, c)?;
    let k = linear(g, "k_proj", x, c)?;
    let v = linear(g, "v_proj", x, c)?;
    let h = scaled_dot_product(g, [q, k, v], config.num_attention_heads, true)?;
    linear(g, "out_proj", h, c)
}

fn feed_forward(g: &mut Graph, config: &ClipTextConfig, x: ValueId) -> Result<ValueId> {
    let h = linear(g, "fc1", x, config.intermediate_size)?;
    let h = activate(g, h, config.hidden_act)?;
    linear(g, "fc2", h, config.hidden_size)
}
