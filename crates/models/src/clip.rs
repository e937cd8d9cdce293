//! CLIP's text transformer (Radford et al. 2021, arXiv:2103.00020; transformers: `CLIPTextModel`).

use crate::Result;
use crate::attention::scaled_dot_product;
use crate::blocks::{activate, add, layer_norm, linear};
use crate::config::ClipTextConfig;
use calotype_graph::ops::Embedding;
use calotype_graph::{Elem, Graph, Layout, Rate, ValueId};

/// What a prompt says, as the UNet attends to it.
///
/// Input `ids`, `[batch, T]` u32, where T is the longest sequence; output `states`, `[batch, T, hidden_size]`, after
/// the final layer norm. Stable Diffusion 2 wants its encoder's penultimate layer, and ships the encoder without the
/// last, so that this holds for it too.
pub fn text_encoder(config: &ClipTextConfig, batch: usize) -> Result<Graph> {
    let mut g = Graph::new("text_encoder");
    let ids = g.input("ids", [batch, config.max_position_embeddings], Elem::U32, Rate::Prompt);
    let states = encode(&mut g, config, ids)?;
    g.output("states", states);
    Ok(g)
}

/// [`text_encoder`] inside a graph that does more: `[B, T]` ids to `[B, T, hidden_size]`.
pub fn encode(g: &mut Graph, config: &ClipTextConfig, ids: ValueId) -> Result<ValueId> {
    g.scope("text_model", |g| forward(g, config, ids))
}

fn forward(g: &mut Graph, config: &ClipTextConfig, ids: ValueId) -> Result<ValueId> {
    // 1. Tokens and their positions.
    let mut x = g.scope("embeddings", |g| embeddings(g, config, ids))?;
    // 2. Transformer.
    for layer in 0..config.num_hidden_layers {
        x = g.scope(&format!("encoder.layers.{layer}"), |g| encoder_layer(g, config, x))?;
    }
    // 3. Out.
    layer_norm(g, "final_layer_norm", x, config.layer_norm_eps)
}

/// `[B, T]` ids to `[B, T, C]`.
fn embeddings(g: &mut Graph, config: &ClipTextConfig, ids: ValueId) -> Result<ValueId> {
    let mut table = |name: &str, rows: usize| {
        let shape = [rows, config.hidden_size];
        g.weight(&[name], shape, Layout::Table, shape)
    };
    let tokens = table("token_embedding.weight", config.vocab_size);
    let positions = table("position_embedding.weight", config.max_position_embeddings);
    Ok(g.push("embedding", Embedding { ids, table: tokens, positions: Some(positions) })?)
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
