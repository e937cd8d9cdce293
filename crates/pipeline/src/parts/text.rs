use super::Stage;
use crate::error::Result;
use calotype_graph::passes::fuse;
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::clip::{self, ClipOutputs};
use calotype_models::config::TextEncoder;

/// One prompt, read by all layers but those skipped at the end: inputs `ids`, `[1, T]` u32, and `vectors`, `[T, hidden]`, which
/// the ids from `vocab_size` on stand for; outputs `states`, `[1, T, hidden]`,
/// and of encoders that project prompts `pooled`, `[1, T, width]`, each place as if the prompt ended there.
pub fn encoder(encoder: &TextEncoder, skipped: usize) -> Result<Graph> {
    let mut encoder = encoder.clone();
    encoder.clip.num_hidden_layers -= skipped;
    let encoder = &encoder;
    let mut g = Graph::new(Stage::text(encoder.role).to_string());
    let tokens = encoder.clip.max_position_embeddings;
    let ids = g.input("ids", [1, tokens], Elem::U32, Rate::Prompt);
    let vectors = g.input("vectors", [tokens, encoder.clip.hidden_size], Elem::Float, Rate::Prompt);
    let ClipOutputs { states, pooled } =
        g.within(encoder.role.folder(), |g| clip::encode(g, encoder, (ids, Some(vectors))))?;
    g.output("states", states);
    pooled.iter().for_each(|pooled| g.output("pooled", *pooled));
    Ok(fuse(g))
}
