use crate::error::Result;
use calotype_graph::ops::Range;
use calotype_graph::passes::fuse;
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::config::VaeConfig;
use calotype_models::{Role, vae};

/// One picture: inputs `image`, `[1, height, width, 4]`, -1 to 1, whose fourth channel is passed over, and `found`, which takes the
/// range of the output; output `moments`, `[1, h, w, 2 C]`: each channel's mean, then the logarithm of its variance.
pub fn encoder(config: &VaeConfig, height: usize, width: usize) -> Result<Graph> {
    let mut g = Graph::new("vae encoder");
    let image = g.input("image", [1, height, width, 4], Elem::Float, Rate::Prompt);
    let found = g.input("found", [1, 4], Elem::U32, Rate::Prompt);
    let moments = g.within(Role::Vae.folder(), |g| vae::encode(g, config, image))?;
    g.push("range", Range { x: moments, found, slot: 0 })?;
    g.output("moments", moments);
    Ok(fuse(g))
}
