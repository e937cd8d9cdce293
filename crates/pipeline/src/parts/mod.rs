//! What a run takes on a device, part by part and as data: what [`MemoryPlan`] counts is what a session allocates.

mod canvas;
mod decoder;
mod denoiser;
mod encoder;
mod layered;
mod memory;
mod need;
mod strategy;
mod text;

pub use canvas::Canvas;
pub(crate) use denoiser::{hint_port, terms_port};
pub use memory::{MemoryPlan, StagePlan};
pub use strategy::{Leaving, StageStream, Strategy};

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::order::Order;
use crate::tiles::Tiles;
use calotype_graph::{Caps, Elem, Graph, Precision};
use calotype_models::{Role, vae_layers};
use calotype_tensor::{DType, Shape};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// What is prepared, kept and dropped as one: some graphs over common ports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A text encoder: a prompt's ids to its states.
    Text {
        /// Which of the model's.
        role: Role,
        /// Layers at its end that are left out.
        skipped: usize,
    },
    /// A picture of this size to the moments of its latents.
    Encoder {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
    },
    /// The denoiser, guidance and the sampler's update.
    Denoiser(Canvas),
    /// Latents to a picture of this size.
    Decoder {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
        /// Whether values are cut to 8 bits, not rounded.
        truncate: bool,
    },
    /// Of a decoder what it computes at the size of the latents.
    Middle {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
    },
    /// Some rows of one of a decoder's layers behind that.
    Layer {
        /// Which.
        index: usize,
        /// Of its input.
        rows: usize,
        /// Of its input.
        width: usize,
        /// As [`Part::Decoder`] has it.
        truncate: bool,
    },
}

/// A part, and how its activations are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// What it computes.
    pub part: Part,
    /// How activations are stored.
    pub precision: Precision,
    /// Whether it is the refiner's.
    pub refines: bool,
}

/// A program of a part, in the order in which a picture takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Stage {
    /// Ids to states.
    #[serde(rename = "text encoder")]
    Text,
    /// The same by the second encoder.
    #[serde(rename = "second text encoder")]
    Text2,
    /// Pixels to the moments of latents.
    #[serde(rename = "vae encoder")]
    Encoder,
    /// Of the denoiser what does not change from step to step.
    #[serde(rename = "unet context")]
    Context,
    /// The same of evaluations that take again what deep layers yielded.
    #[serde(rename = "unet context, reusing")]
    ReusingContext,
    /// A model evaluation and the sampler's update.
    #[serde(rename = "unet")]
    Step,
    /// The same that takes again what deep layers yielded.
    #[serde(rename = "unet, reusing")]
    Reusing,
    /// Latents to pixels.
    #[serde(rename = "vae")]
    Decoder,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text encoder",
            Self::Text2 => "second text encoder",
            Self::Encoder => "vae encoder",
            Self::Context => "unet context",
            Self::ReusingContext => "unet context, reusing",
            Self::Step => "unet",
            Self::Reusing => "unet, reusing",
            Self::Decoder => "vae",
        })
    }
}

impl Stage {
    /// A text encoder's.
    pub const fn text(encoder: Role) -> Self {
        match encoder {
            Role::Text2 => Self::Text2,
            _ => Self::Text,
        }
    }
}

/// A tensor on the device that outlives a run.
#[derive(Clone, Copy, Debug)]
pub struct PortSpec {
    /// Its shape.
    pub shape: Shape,
    /// How its elements are stored.
    pub dtype: DType,
}

/// A part drawn up: its graphs, fused, with every weight found and checked, and the ports that they share by name.
pub struct PartGraphs {
    /// What it is.
    pub key: Key,
    /// Its graphs, in the order in which they run.
    pub graphs: Vec<(Stage, Graph)>,
    /// The graphs' inputs and outputs.
    pub ports: BTreeMap<String, PortSpec>,
}

impl Part {
    /// The component whose weights it takes.
    pub fn role(self) -> Role {
        match self {
            Self::Text { role, .. } => role,
            Self::Denoiser(_) => Role::Denoiser,
            Self::Encoder { .. } | Self::Decoder { .. } | Self::Middle { .. } | Self::Layer { .. } => {
                Role::Vae
            }
        }
    }

    /// Whether another is of its kind, whose place it takes.
    pub(crate) fn is_like(self, other: Self) -> bool {
        let encodes = |part: Self| matches!(part, Self::Encoder { .. });
        self.role() == other.role() && encodes(self) == encodes(other)
    }
}

impl Key {
    /// The part that a decoder runs for each of its tiles.
    pub(crate) fn in_tiles(mut self, tiles: Tiles, model: &Model) -> Self {
        if let Part::Decoder { height, width, .. } = &mut self.part {
            [*height, *width] = tiles.size.map(|side| side * model.config.vae.factor());
        }
        self
    }

    /// The parts that are run for this one by a strategy, one after another.
    pub(crate) fn by(self, strategy: &Strategy, model: &Model) -> Vec<Self> {
        match (strategy.tiles, strategy.rows) {
            (Some(tiles), _) => vec![self.in_tiles(tiles, model)],
            (None, Some(rows)) => self.in_rows(rows, model),
            (None, None) => vec![self],
        }
    }

    /// Draws the part up, of a model's components.
    pub fn draw(self, model: &Model) -> Result<PartGraphs> {
        let (model, quant) = (model.of_two(self.refines), model.quant);
        let config = &model.config;
        let mut graphs = match self.part {
            Part::Text { role, skipped } => {
                let encoder = config.text(role).ok_or_else(|| no_such(model, role))?;
                vec![(Stage::text(role), text::encoder(encoder, skipped)?)]
            }
            Part::Encoder { height, width } => {
                vec![(Stage::Encoder, encoder::encoder(&config.vae, height, width)?)]
            }
            Part::Denoiser(canvas) => denoiser::denoiser(config, &model.controls, canvas)?,
            Part::Decoder { height, width, truncate } => {
                vec![(
                    Stage::Decoder,
                    decoder::decoder((&config.vae, model.tiny.as_ref()), height, width, truncate)?,
                )]
            }
            Part::Middle { height, width } => {
                vec![(Stage::Decoder, layered::middle(&config.vae, height, width)?)]
            }
            Part::Layer { index, rows, width, truncate } => {
                let layer = &vae_layers::layers(&config.vae)[index];
                vec![(Stage::Decoder, layered::layer(&config.vae, layer, [rows, width], truncate)?)]
            }
        };
        let mut ports = BTreeMap::new();
        for (_, graph) in &mut graphs {
            graph.resolve(&model.components, self.precision)?;
            // A decoder is a twentieth of a model, and what its numbers lose is seen as it is.
            if self.part.role() != Role::Vae {
                graph.quantize(&model.components, quant, &may_be_blocks)?;
            }
            let outputs = graph.outputs().iter().map(|(name, v)| (name.as_str(), *v));
            for (name, value) in graph.inputs().chain(outputs) {
                let value = graph.value(value);
                let dtype = match value.elem {
                    Elem::Float => self.precision.dtype(),
                    Elem::F32 => DType::F32,
                    Elem::U32 => DType::U32,
                };
                ports.insert(name.to_string(), PortSpec { shape: value.shape, dtype });
            }
        }
        Ok(PartGraphs { key: self, graphs, ports })
    }
}

/// In names: matrices that take little room and matter much, what is known of time, sizes and classes and what goes in and
/// comes out. stable-diffusion.cpp leaves most of them as they are (`tensor_should_be_converted`).
const WHOLE: [&str; 6] = [
    "time_embedding.",
    "add_embedding.",
    "class_embedding.",
    "text_projection",
    "unet/conv_in.",
    "unet/conv_out.",
];

fn may_be_blocks(name: &str) -> bool {
    !WHOLE.iter().any(|part| name.contains(part))
}

fn no_such(model: &Model, role: Role) -> Error {
    Error::Model(format!("{}: the model has no {role}", model.name))
}

/// The parts that an order's run takes, as they follow each other.
pub fn run(model: &Model, order: &Order, precision: Precision) -> Vec<Key> {
    let Order { width, height, batch_size: batch, .. } = *order;
    let orders = || [order].into_iter().chain(order.refiner.as_ref().map(|refining| &refining.order));
    let texts = orders().flat_map(|order| {
        let text = |role: &Role| Part::Text { role: *role, skipped: order.skipped() };
        let texts = model.of_two(order.refines).config.index.texts;
        texts.iter().map(move |role| Key { part: text(role), precision, refines: order.refines })
    });
    let denoisers = orders().flat_map(|order| {
        let of = |canvas| Part::Denoiser(Canvas { width, height, batch, ..canvas });
        let canvases = Canvas::all_of(order, order.guided()).into_iter();
        canvases.map(move |canvas| Key { part: of(canvas), precision, refines: order.refines })
    });
    let vae = |part| Key { part, precision: model.decoder_precision(precision), refines: false };
    let encoder = order.init.as_ref().map(|_| vae(Part::Encoder { height, width }));
    let mut keys: Vec<Key> = texts.chain(encoder).chain(denoisers).collect();
    keys.push(vae(Part::Decoder { height, width, truncate: false }));
    keys
}

/// What an order takes on a device, before anything is allocated, where nobody says how much there is.
pub fn plan(model: &Model, order: &Order, precision: Precision, caps: &Caps) -> Result<MemoryPlan> {
    plan_within(&Budget::default(), model, order, precision, caps)
}

/// The same by the cheapest means that keep within a budget, or by those that take least.
pub fn plan_within(
    budget: &Budget,
    model: &Model,
    order: &Order,
    precision: Precision,
    caps: &Caps,
) -> Result<MemoryPlan> {
    plan_parts(budget, model, &run(model, order, precision), caps)
}

/// The same of a run's parts.
pub(crate) fn plan_parts(budget: &Budget, model: &Model, keys: &[Key], caps: &Caps) -> Result<MemoryPlan> {
    let mut counted = HashSet::new();
    let need = |key: &Key| need::need(&key.draw(model)?, caps, &mut counted);
    let mut parts = keys.iter().map(need).collect::<Result<Vec<_>>>()?;
    let decoder = keys.iter().find(|key| matches!(key.part, Part::Decoder { .. }));
    let decoder = Tiled { key: decoder.or(keys.first()).copied(), model, caps };
    let strategy = strategy::decide(&mut parts, budget, caps, &decoder)?;
    Ok(MemoryPlan::of(&parts, strategy, caps))
}

/// A decoder that may do its work in tiles.
struct Tiled<'a> {
    key: Option<Key>,
    model: &'a Model,
    caps: &'a Caps,
}

impl strategy::InTiles for Tiled<'_> {
    fn latents(&self) -> [usize; 2] {
        let factor = self.model.config.vae.factor();
        match self.key.map(|key| key.part) {
            Some(Part::Decoder { height, width, .. }) => [height / factor, width / factor],
            _ => [0, 0],
        }
    }

    fn need(&self, tiles: Tiles) -> Result<need::PartNeed> {
        let key = self.key.expect("what is to decode in tiles is there");
        let drawn = key.in_tiles(tiles, self.model).draw(self.model)?;
        let mut part = need::need(&drawn, self.caps, &mut HashSet::new())?;
        if let (Part::Decoder { height, width, .. }, Some(_)) = (key.part, self.caps.host) {
            part.need.host.blends(height * width);
        }
        Ok(part)
    }

    fn height(&self) -> usize {
        match self.key.map(|key| key.part) {
            // A tiny decoder has no norms, and takes little.
            Some(Part::Decoder { height, .. }) if self.model.tiny.is_none() => height,
            _ => 0,
        }
    }

    fn need_in_rows(&self, rows: usize) -> Result<need::PartNeed> {
        layered::need(self.key.expect("what is to decode by rows is there"), rows, self.model, self.caps)
    }
}
