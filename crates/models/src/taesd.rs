//! TAESD, a tiny autoencoder's decoder: latents as the UNet sees them to a rough picture, in a hundredth of the time
//! (madebyollin/taesd, `taesd.py`; diffusers: `AutoencoderTiny`, `DecoderTiny`).

use crate::blocks::{activate, add, channels, size};
use crate::config::Activation;
use crate::{Error, Result};
use calotype_graph::ops::{Conv2d, Padding, Scale, Upsample};
use calotype_graph::{Graph, Layout, ValueId};
use calotype_tensor::Tensors;
use std::collections::BTreeMap;

/// Channels of the picture: red, green, blue and one of zeros, which keeps pixels aligned.
const PIXEL: usize = 4;

/// What tensors of decoders are called before the layer's number, and the number of the first layer that has some: where the
/// clamp is a layer, it is the first.
const SPELLINGS: [(&str, usize); 3] = [("decoder.layers.", 0), ("taesd_decoder.", 1), ("", 1)];

/// A tiny decoder, as its tensors' names and shapes have it: any width, any number of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyDecoder {
    /// Channels of the latents.
    pub latent_channels: usize,
    layers: Vec<Layer>,
}

/// Layers with weights, each with what its tensors' names begin with.
#[derive(Clone, Debug, PartialEq)]
enum Layer {
    /// After a doubling of the size where `doubled`.
    Conv { name: String, out: usize, biased: bool, doubled: bool },
    /// Three convolutions beside the input.
    Block { name: String, out: usize, skips: bool },
}

impl TinyDecoder {
    /// Reads a decoder's layers off its tensors.
    pub fn of(source: &dyn Tensors) -> Result<Self> {
        let names = source.names();
        let place = source.describe("");
        let bad = |why: String| Error::Undetected {
            file: place.clone(),
            why: format!("no tiny autoencoder's decoder: {why}"),
        };
        let number = |name: &str, prefix: &str| -> Option<usize> {
            name.strip_prefix(prefix)?.split('.').next()?.parse().ok()
        };
        let of = |(prefix, first): (&'static str, usize)| {
            let numbers: BTreeMap<usize, String> = names
                .iter()
                .filter_map(|name| number(name, prefix))
                .map(|n| (n, format!("{prefix}{n}")))
                .collect();
            numbers
                .contains_key(&first)
                .then_some(numbers)
                .filter(|numbers| numbers.keys().next() == Some(&first))
        };
        let Some(found) = SPELLINGS.into_iter().find_map(of) else {
            let of_encoder = |name: &&str| {
                let begins =
                    ["encoder.layers.", "taesd_encoder."].iter().any(|begin| name.starts_with(begin));
                begins || number(name, "").is_some()
            };
            let is_encoder = !names.is_empty() && names.iter().all(of_encoder);
            return Err(bad(match is_encoder {
                true => "it is the encoder: take the decoder's file".into(),
                false => "no layer is called decoder.layers.0, taesd_decoder.1 or 1".into(),
            }));
        };
        let shape =
            |name: String| source.get(&name).ok().map(|info| info.shape.clone()).filter(|s| s.len() == 4);
        let (mut layers, mut before): (Vec<Layer>, Option<usize>) = (Vec::new(), None);
        let mut latent_channels = 0;
        for (at, name) in found {
            let gap = before.map_or(0, |before| at - before - 1);
            let layer = if let Some(shape) = shape(format!("{name}.conv.0.weight")) {
                let skips = source.get(&format!("{name}.skip.weight")).is_ok();
                // What lies between the first convolution and the first block is the activation.
                let follows = gap == 0 || gap == 1 && layers.len() == 1;
                follows.then_some(Layer::Block { name: name.clone(), out: shape[0], skips })
            } else if let Some(shape) = shape(format!("{name}.weight")) {
                if layers.is_empty() {
                    latent_channels = shape[1];
                }
                let biased = source.get(&format!("{name}.bias")).is_ok();
                let doubled = gap == 1;
                (gap < 2).then_some(Layer::Conv { name: name.clone(), out: shape[0], biased, doubled })
            } else {
                None
            };
            layers.push(layer.ok_or_else(|| bad(format!("what is at {name} is not known")))?);
            before = Some(at);
        }
        match (layers.first(), layers.last()) {
            (Some(Layer::Conv { .. }), Some(Layer::Conv { out: 3, .. })) if layers.len() > 2 => {
                Ok(Self { latent_channels, layers })
            }
            _ => Err(bad("it does not end in a picture of three colours".into())),
        }
    }

    /// Pixels a side for each place of the latents.
    pub fn factor(&self) -> usize {
        let doubled = self.layers.iter().filter(|layer| matches!(layer, Layer::Conv { doubled: true, .. }));
        1 << doubled.count()
    }

    /// `[B, h, w, latent_channels]`, clamped to `3 tanh(x / 3)` already, to `[B, f·h, f·w, 4]`, about -1 to 1.
    pub fn decode(&self, g: &mut Graph, latents: ValueId) -> Result<ValueId> {
        let (last, mut x) = (self.layers.len() - 1, latents);
        for (i, layer) in self.layers.iter().enumerate() {
            x = match layer {
                Layer::Conv { name, out, biased, doubled } => {
                    if *doubled {
                        let size = size(g, x).map(|side| 2 * side);
                        x = g.scope(name, |g| g.push("upsample", Upsample { x, size }))?;
                    }
                    let padded = if i == last { PIXEL } else { *out };
                    let y = g.scope(name, |g| conv(g, x, ([*out, padded], 3), *biased))?;
                    if i == 0 { g.scope(name, |g| activate(g, y, Activation::Relu))? } else { y }
                }
                Layer::Block { name, out, skips } => g.scope(name, |g| block(g, x, *out, *skips))?,
            };
        }
        // diffusers' range.
        Ok(g.push("range", Scale { x, scale: 2.0, shift: -1.0 })?)
    }
}

/// `conv(relu(conv(relu(conv(x))))) + x`, and the activation once more.
fn block(g: &mut Graph, x: ValueId, out: usize, skips: bool) -> Result<ValueId> {
    let mut y = x;
    for (i, at) in [0, 2, 4].into_iter().enumerate() {
        y = g.scope(&format!("conv.{at}"), |g| conv(g, y, ([out, out], 3), true))?;
        if i < 2 {
            y = g.scope(&format!("conv.{at}"), |g| activate(g, y, Activation::Relu))?;
        }
    }
    let beside = if skips { g.scope("skip", |g| conv(g, x, ([out, out], 1), false))? } else { x };
    let sum = add(g, y, beside)?;
    activate(g, sum, Activation::Relu)
}

fn conv(
    g: &mut Graph,
    x: ValueId,
    ([out, padded], side): ([usize; 2], usize),
    biased: bool,
) -> Result<ValueId> {
    let (channels, kernel) = (channels(g, x), [side, side]);
    let layout = Layout::Conv { kernel, channels };
    let weight = g.weight(&["weight"], [out, channels, side, side], layout, [side * side * channels, padded]);
    let bias = biased.then(|| g.weight(&["bias"], [out], Layout::Vector, [padded]));
    let padding = Padding::all(side / 2);
    Ok(g.push("", Conv2d { bias, padding, ..Conv2d::new(x, weight, kernel) })?)
}
