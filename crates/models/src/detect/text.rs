//! A text encoder's configuration from its shapes (transformers: `CLIPTextModel`).

use super::{Family, Shapes};
use crate::config::text_class;
use crate::{Result, Role};
use serde_json::{Value, json};

/// Channels of a head in every CLIP that Stable Diffusion has.
const HEAD: usize = 64;
/// Width of CLIP ViT-L, whose activation is OpenAI's own.
const LARGE: usize = 768;
/// Widths of OpenCLIP ViT-H and ViT-bigG.
const OPEN: [usize; 2] = [1024, 1280];
/// Layers of ViT-H.
const HUGE_LAYERS: usize = 24;

const TOKENS: &str = "text_model.embeddings.token_embedding.weight";

pub(super) fn config(shapes: &Shapes<'_>, family: Family, role: Role) -> Result<Value> {
    let width = shapes.axis(TOKENS, 1)?;
    let is_open = match width {
        LARGE => false,
        width if OPEN.contains(&width) => true,
        _ => family == Family::Sd2 || role == Role::Text2,
    };
    let projected = shapes.find("text_projection.weight").and_then(|shape| shape.first()).copied();
    Ok(json!({
        "architectures": [text_class(role)],
        "projection_dim": projected.unwrap_or(width),
        "vocab_size": shapes.axis(TOKENS, 0)?,
        "hidden_size": width,
        "intermediate_size": shapes.axis("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        "num_hidden_layers": layers(shapes, width, family),
        "num_attention_heads": (width / HEAD).max(1),
        "max_position_embeddings": shapes.axis("text_model.embeddings.position_embedding.weight", 0)?,
        "hidden_act": if is_open { "gelu" } else { "quick_gelu" },
    }))
}

/// Stable Diffusion 2 takes the states of OpenCLIP's penultimate layer, so that the last is one too many. A folder has left it
/// out, and so may have a file that was made of one.
fn layers(shapes: &Shapes<'_>, width: usize, family: Family) -> usize {
    let layers = shapes.count(|i| format!("text_model.encoder.layers.{i}.mlp.fc1.weight"));
    let whole = match width {
        LARGE => true,
        1024 => layers < HUGE_LAYERS,
        // With the last layer goes the projection.
        _ => shapes.find("text_projection.weight").is_none(),
    };
    if family == Family::Sd2 && !whole { layers.saturating_sub(1) } else { layers }
}
