use crate::error::Result;
use calotype_graph::ops::{FromLatents, Range, ToRgba8};
use calotype_graph::passes::fuse;
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::config::VaeConfig;
use calotype_models::taesd::TinyDecoder;
use calotype_models::{Role, vae};
use calotype_tensor::Shape;

/// One picture: inputs `latents`, `[1, h, w, C]` f32 as the sampler leaves them, and `found`, which takes the range of the
/// decoder's output; output `pixels`, `[1, height, width]` RGBA8, rounded or cut off.
pub fn decoder(
    (config, tiny): (&VaeConfig, Option<&TinyDecoder>),
    height: usize,
    width: usize,
    truncate: bool,
) -> Result<Graph> {
    let [h, w] = [height, width].map(|side| side / config.factor());
    let channels = config.latent_channels;
    let mut g = Graph::new("vae");
    let latents = g.input("latents", [1, h, w, channels], Elem::F32, Rate::Prompt);
    let found = g.input("found", [1, 4], Elem::U32, Rate::Prompt);
    // diffusers: latents / scaling_factor (pipeline_stable_diffusion.py).
    // A tiny decoder takes them as the UNet sees them.
    let (scale, shift) = (if tiny.is_some() { 1.0 } else { 1.0 / config.scaling_factor }, 0.0);
    let shape = Shape::new(&[1, h, w, channels]);
    let x = g.push("scaled", FromLatents { latents, shape, from: 0, copies: 1, scale, shift })?;
    let image = g.within(Role::Vae.folder(), |g| match tiny {
        Some(tiny) => tiny.decode(g, x),
        None => vae::decode(g, config, x),
    })?;
    g.push("range", Range { x: image, found, slot: 0 })?;
    let pixels = g.push("pixels", ToRgba8 { x: image, truncate })?;
    g.output("pixels", pixels);
    Ok(fuse(g))
}
