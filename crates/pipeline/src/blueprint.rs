//! Everything a request needs on a device, as data: what `plan` counts is what `prepare` allocates.

use crate::error::Result;
use crate::model::Model;
use crate::request::Request;
use crate::room;
use crate::samplers;
use calotype_graph::ops::{FromLatents, REGISTERS, Range, SamplerStep, StepRow, ToRgba8};
use calotype_graph::passes::{fuse, split};
use calotype_graph::plan::{self, Plan};
use calotype_graph::{Caps, Elem, Graph, Precision, Rate, WeightFetch, lower};
use calotype_models::{clip, unet, vae};
use calotype_tensor::{DType, Shape};
use std::collections::{BTreeMap, HashSet};

/// What decides the shapes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Images at once.
    pub batch: usize,
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// Whether the model sees the unconditional batch too.
    pub guided: bool,
    /// Whether the guided output's spread is rescaled.
    pub rescale: bool,
    /// Rows of the step table: model evaluations, rounded up so that another number of steps need not recompile.
    pub rows: usize,
    /// Noise tensors that the sampler adds.
    pub noises: usize,
}

impl Size {
    /// What a request's run decides, under its sampler's program.
    pub fn of(request: &Request, model: &Model, program: &samplers::Program, guided: bool) -> Result<Self> {
        let [height, width] = request.size(model)?;
        Ok(Self {
            batch: request.batch_size,
            height,
            width,
            guided,
            rescale: guided && request.cfg_rescale > 0.0,
            rows: Self::rows_for(program.steps.len()),
            noises: program.noises,
        })
    }

    /// Rows for a number of model evaluations.
    pub fn rows_for(evaluations: usize) -> usize {
        evaluations.next_multiple_of(64)
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

/// One graph, the ports it is bound to (by its own names, to the blueprint's), and its part in memory.
pub struct Stage {
    /// What the stage is called: `text encoder`, `unet context`, `unet`, `vae`.
    pub name: &'static str,
    /// The graph, fused.
    pub graph: Graph,
    /// The blueprint's port for each input and output of the graph.
    pub ports: BTreeMap<String, String>,
}

/// The graphs and ports of a request.
pub struct Blueprint {
    /// How activations are stored.
    pub precision: Precision,
    /// The stages, in the order in which they run.
    pub stages: [Stage; 4],
    /// Every port, by name.
    pub ports: BTreeMap<String, PortSpec>,
}

/// Indices of [`Blueprint::stages`].
pub const TEXT: usize = 0;
/// What does not change from step to step.
pub const CONTEXT: usize = 1;
/// A model evaluation and the sampler's update.
pub const STEP: usize = 2;
/// Latents to pixels.
pub const VAE: usize = 3;

impl Blueprint {
    /// Draws up a request's graphs, with every weight found in the model's files and checked.
    pub fn new(model: &Model, size: Size, precision: Precision) -> Result<Self> {
        let config = &model.config;
        let factor = config.vae.factor();
        let [h, w] = [size.height / factor, size.width / factor];
        let channels = config.vae.latent_channels;
        let tokens = config.text.max_position_embeddings;
        let hidden = config.text.hidden_size;
        let seen = size.batch * if size.guided { 2 } else { 1 };
        let numel = h.saturating_mul(w).saturating_mul(channels);

        let text = clip::text_encoder(&config.text, 1)?;

        let mut g = Graph::new("unet");
        let latents = g.input("latents", [seen, h, w, channels], Elem::Float, Rate::Step);
        let table = g.input("table", [size.rows, StepRow::WORDS], Elem::U32, Rate::Prompt);
        let states = g.input("states", [seen, tokens, hidden], Elem::Float, Rate::Prompt);
        let registers = g.input("registers", [REGISTERS, size.batch, numel], Elem::F32, Rate::Step);
        let noise =
            g.input("noise", [size.noises.max(1), size.batch.saturating_mul(numel)], Elem::F32, Rate::Step);
        let output = unet::forward(&mut g, &config.unet, latents, table, states)?;
        let (guided, rescale) = (size.guided, size.rescale);
        g.push("sampler", SamplerStep { output, registers, input: latents, noise, table, guided, rescale })?;
        let (context, step) = split(fuse(g));

        let mut g = Graph::new("vae");
        let latents = g.input("latents", [1, h, w, channels], Elem::F32, Rate::Prompt);
        let found = g.input("found", [1, 4], Elem::U32, Rate::Prompt);
        // diffusers: latents / scaling_factor (pipeline_stable_diffusion.py).
        let (scale, shift) = (1.0 / config.vae.scaling_factor, 0.0);
        let shape = Shape::new(&[1, h, w, channels]);
        let x = g.push("scaled", FromLatents { latents, shape, from: 0, copies: 1, scale, shift })?;
        let image = vae::decode(&mut g, &config.vae, x)?;
        g.push("range", Range { x: image, found, slot: 0 })?;
        let pixels = g.push("pixels", ToRgba8 { x: image })?;
        g.output("pixels", pixels);
        let vae = fuse(g);

        let mut blueprint = Self {
            precision,
            stages: [
                Stage::new("text encoder", fuse(text)),
                Stage::new("unet context", context),
                Stage::new("unet", step),
                Stage::new("vae", vae),
            ],
            ports: BTreeMap::new(),
        };
        for (stage, source) in
            blueprint.stages.iter_mut().zip([&model.text, &model.unet, &model.unet, &model.vae])
        {
            stage.graph.resolve(&**source, precision)?;
        }
        blueprint.name_ports();
        Ok(blueprint)
    }

    /// Ports that two stages share have one name: the states between text and context, `kept.N` between context and
    /// step. The text encoder's own output holds one prompt; the host gathers the batch's.
    fn name_ports(&mut self) {
        for stage in &mut self.stages {
            let graph = &stage.graph;
            let values =
                graph.inputs().map(|(n, v)| (n.to_string(), v)).chain(graph.outputs().iter().cloned());
            for (name, value) in values {
                let shared = matches!(stage.name, "unet context" | "unet");
                let port = if shared { format!("unet.{name}") } else { format!("{}.{name}", stage.name) };
                let value = graph.value(value);
                let dtype = match value.elem {
                    Elem::Float => self.precision.dtype(),
                    Elem::F32 => DType::F32,
                    Elem::U32 => DType::U32,
                };
                self.ports.insert(port.clone(), PortSpec { shape: value.shape, dtype });
                stage.ports.insert(name, port);
            }
        }
    }

    /// Where a stage's weights come from.
    pub fn source(model: &Model, stage: usize) -> &dyn WeightFetch {
        match stage {
            TEXT => &*model.text,
            VAE => &*model.vae,
            _ => &*model.unet,
        }
    }

    /// What the request takes on a device, before anything is allocated.
    pub fn memory(&self, caps: &Caps) -> Result<MemoryPlan> {
        let aligned = |bytes: u64| bytes.next_multiple_of(caps.alignment);
        let mut seen = HashSet::new();
        let mut stages = Vec::new();
        let mut plans: Vec<Plan> = Vec::new();
        let (mut weight_bytes, mut params_bytes, mut largest_weight) = (0, 0, 0);
        room::check_ports(self.ports.iter().map(|(name, port)| (&**name, port.shape, port.dtype)), caps)?;
        for stage in &self.stages {
            let graph = &stage.graph;
            let own: u64 = graph
                .weight_values()
                .filter(|(id, ..)| seen.insert(graph.weight_key(*id)))
                .map(|(id, shape, _)| caps.bytes(shape, graph.weights()[id.index()].dtype))
                .inspect(|bytes| largest_weight = largest_weight.max(*bytes))
                .map(aligned)
                .sum();
            let plan = plan::plan(graph, self.precision, caps)?;
            let dispatches = match caps.host {
                Some(_) => graph.nodes().len(),
                None => lower(graph, &plan, self.precision, caps)?.dispatches.len(),
            };
            weight_bytes += own;
            // Tuning may do any product in two launches.
            let more = if caps.tunes { plan.cuts.len() } else { 0 };
            params_bytes +=
                if caps.host.is_some() { 0 } else { (dispatches + more) as u64 * caps.alignment.max(256) };
            stages.push(StagePlan {
                name: stage.name.into(),
                weight_bytes: own,
                activation_bytes: plan.bytes(),
                dispatches,
                flops: graph.flops(),
            });
            plans.push(plan);
        }
        // The text encoder has buffers of its own; the others share theirs.
        let shared: Vec<&Plan> = plans[CONTEXT..].iter().collect();
        let shared_bytes = match caps.tunes {
            false => plan::pool(&shared).iter().sum::<u64>(),
            true => {
                let caps = Caps { tuned: Default::default(), ..caps.clone() };
                let table = |stage: &Stage| Ok(plan::plan(&stage.graph, self.precision, &caps)?);
                let table = self.stages[CONTEXT..].iter().map(table).collect::<Result<Vec<_>>>()?;
                plan::allowance(&shared, &table.iter().collect::<Vec<_>>())
            }
        };
        let activation_bytes = plans[TEXT].bytes() + shared_bytes;
        let bytes = |p: &PortSpec| aligned(caps.bytes(p.shape, p.dtype));
        let port_bytes: u64 = self.ports.values().map(bytes).sum();
        let readback = match caps.host {
            Some(host) => {
                let shapes = self.ports.iter().map(|(name, port)| (&**name, port.shape));
                host.overhead + room::host_bytes(shapes, host.threads, largest_weight, activation_bytes)
            }
            // What is read back passes through a copy of the largest port that is ever read.
            None => self.ports.values().map(bytes).max().unwrap_or(0),
        };
        Ok(MemoryPlan {
            weight_bytes,
            activation_bytes,
            state_bytes: port_bytes + params_bytes + readback,
            peak_bytes: weight_bytes + activation_bytes + port_bytes + params_bytes + readback,
            stages,
        })
    }
}

impl Stage {
    fn new(name: &'static str, graph: Graph) -> Self {
        Self { name, graph, ports: BTreeMap::new() }
    }
}

/// Device memory by kind and by stage, in bytes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MemoryPlan {
    /// All of it.
    pub peak_bytes: u64,
    /// The model.
    pub weight_bytes: u64,
    /// The activation buffers that the stages share.
    pub activation_bytes: u64,
    /// Latents, states, tables, parameters, readback; on the CPU also what threads and the loading of weights take.
    pub state_bytes: u64,
    /// Stage by stage.
    pub stages: Vec<StagePlan>,
}

/// One stage's part.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StagePlan {
    /// What it is called.
    pub name: String,
    /// Weights it adds to those before.
    pub weight_bytes: u64,
    /// Activation buffers it would need by itself.
    pub activation_bytes: u64,
    /// Kernel launches of one run.
    pub dispatches: usize,
    /// Floating-point operations of one run.
    pub flops: u64,
}
