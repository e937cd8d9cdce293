use crate::error::Result;
use calotype_graph::passes::fuse;
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::config::ClipTextConfig;
use calotype_models::{Role, clip};

/// One prompt: input `ids`, `[1, T]` u32; output `states`, `[1, T, hidden]`.
pub fn encoder(config: &ClipTextConfig) -> Result<Graph> {
    let mut g = Graph::new("text encoder");
    let ids = g.input("ids", [1, config.max_position_embeddings], Elem::U32, Rate::Prompt);
    let states = g.within(Role::Text.folder(), |g| clip::encode(g, config, ids))?;
    g.output("states", states);
    Ok(fuse(g))
}
