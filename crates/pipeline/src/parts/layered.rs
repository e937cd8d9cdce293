//! A decoder layer by layer, each some rows at a time: the graphs, and what they take.

use super::need::{self, PartNeed};
use super::{Key, Part};
use crate::bands::Bands;
use crate::error::Result;
use crate::model::Model;
use calotype_graph::Caps;
use calotype_graph::ops::{FromLatents, Range, ToRgba8};
use calotype_graph::passes::fuse;
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::config::VaeConfig;
use calotype_models::vae_layers::{Layer, layers};
use calotype_models::{Role, vae};
use calotype_tensor::Shape;
use std::collections::HashSet;

/// What a decoder computes at the size of the latents, `[1, h, w, C]` f32 as the sampler leaves them: input `latents`, output
/// `y`.
pub(super) fn middle(config: &VaeConfig, height: usize, width: usize) -> Result<Graph> {
    let [h, w] = [height, width].map(|side| side / config.factor());
    let shape = Shape::new(&[1, h, w, config.latent_channels]);
    let mut g = Graph::new("vae");
    let latents = g.input("latents", shape, Elem::F32, Rate::Prompt);
    let (scale, shift) = (1.0 / config.scaling_factor, 0.0);
    let x = g.push("scaled", FromLatents { latents, shape, from: 0, copies: 1, scale, shift })?;
    let y = g.within(Role::Vae.folder(), |g| vae::decode_middle(g, config, x))?;
    g.output("y", y);
    Ok(fuse(g))
}

/// Some rows of one layer: inputs `x`, and `beside` and `terms` where it takes them; output `y`, of the last one `pixels` and
/// `found`, as the whole decoder has them.
pub(super) fn layer(
    config: &VaeConfig,
    layer: &Layer,
    [rows, width]: [usize; 2],
    truncate: bool,
) -> Result<Graph> {
    let mut g = Graph::new("vae");
    let whole = |channels: usize| [1, rows, width, channels];
    let x = g.input("x", whole(layer.channels), Elem::Float, Rate::Prompt);
    let beside = layer.beside.map(|channels| g.input("beside", whole(channels), Elem::Float, Rate::Prompt));
    let terms = [1, 2, layer.channels];
    let terms = layer.norm().map(|_| g.input("terms", terms, Elem::F32, Rate::Prompt));
    let y = g.within(Role::Vae.folder(), |g| layer.forward(g, config, x, (beside, terms)))?;
    if layer.is_last() {
        let found = g.input("found", [1, 4], Elem::U32, Rate::Prompt);
        g.push("range", Range { x: y, found, slot: 0 })?;
        let pixels = g.push("pixels", ToRgba8 { x: y, truncate })?;
        g.output("pixels", pixels);
    } else {
        g.output("y", y);
    }
    Ok(fuse(g))
}

impl Key {
    /// The parts that a decoder runs one after another which takes so many rows at a time: its middle, and its layers.
    pub(crate) fn in_rows(self, rows: usize, model: &Model) -> Vec<Self> {
        let Part::Decoder { height, width, truncate } = self.part else { return vec![self] };
        let config = &model.config.vae;
        let layer = |(index, layer): (usize, &Layer)| {
            let [height, width] = [height, width].map(|side| side / config.factor() * layer.scale);
            let rows = Bands::new(height, rows / layer.grows()).rows;
            Part::Layer { index, rows, width, truncate }
        };
        let layers = layers(config);
        let parts = [Part::Middle { height, width }].into_iter().chain(layers.iter().enumerate().map(layer));
        parts.map(|part| Self { part, ..self }).collect()
    }
}

/// What a decoder takes that takes so many rows at a time.
pub(super) fn need(key: Key, rows: usize, model: &Model, caps: &Caps) -> Result<PartNeed> {
    let Part::Decoder { height, .. } = key.part else { unreachable!("{key:?} does not decode") };
    let config = &model.config.vae;
    let bands = |(layer, key): (&Layer, &Key)| match key.part {
        Part::Layer { rows, .. } => Bands::new(height / config.factor() * layer.scale, rows).count(),
        _ => 1,
    };
    let keys = key.in_rows(rows, model);
    let times: Vec<usize> = [1].into_iter().chain(layers(config).iter().zip(&keys[1..]).map(bands)).collect();
    let mut counted = HashSet::new();
    let each = |(key, times): (&Key, usize)| {
        let mut part = need::need(&key.draw(model)?, caps, &mut counted)?;
        for stage in &mut part.stages {
            (stage.dispatches, stage.flops) = (stage.dispatches * times, stage.flops * times as u64);
        }
        Ok(part)
    };
    let parts = keys.iter().zip(times).map(each).collect::<Result<Vec<_>>>()?;
    Ok(PartNeed::in_turn(parts))
}
