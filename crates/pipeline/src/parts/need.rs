//! What parts take on a device, as numbers that add up.

use super::{PartGraphs, Stage, StagePlan};
use crate::error::Result;
use calotype_graph::plan;
use calotype_graph::{Caps, Error as GraphError, loads, lower};
use calotype_models::Role;
use calotype_tensor::{DType, Shape};
use std::collections::{BTreeMap, HashSet};

/// What some parts take that are there at the same time, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Weights that lie on the device.
    pub weights: u64,
    /// The same by how numbers are stored.
    pub types: BTreeMap<&'static str, u64>,
    /// The activation buffers, which all programs share.
    pub buffers: Vec<u64>,
    /// The same with the table's cuts, where tuning may yet choose others.
    pub by_table: Vec<u64>,
    /// Ports and parameters.
    pub states: u64,
    /// What is read back passes through a copy of the largest port that is ever read.
    pub largest_port: u64,
    /// Of the host, where that is the device.
    pub host: HostCopies,
}

/// What a picture takes in the host's memory besides what an executor there holds for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostCopies {
    largest_weight: u64,
    registers: u64,
    pixels: u64,
    images: u64,
    blend: u64,
}

/// One part of a run.
#[derive(Clone, Debug)]
pub(crate) struct PartNeed {
    /// The component whose weights it takes.
    pub role: Role,
    /// Whether it is the refiner's.
    pub refines: bool,
    /// What it takes.
    pub need: Need,
    /// Its stages.
    pub stages: Vec<StagePlan>,
    /// Bytes of weights that each node takes, stage by stage.
    pub loads: Vec<(Stage, Vec<u64>)>,
}

impl PartNeed {
    /// What several take that hold the device one after another, and whose weights stay there.
    pub fn in_turn(parts: Vec<Self>) -> Self {
        let states = parts.iter().map(|part| part.need.states).max().unwrap_or(0);
        let mut parts = parts.into_iter();
        let first = parts.next().expect("there are some");
        let mut all = parts.fold(first, |mut all, part| {
            all.need = std::mem::take(&mut all.need).beside(&part.need);
            for (own, stage) in all.stages.iter_mut().zip(part.stages) {
                own.weight_bytes += stage.weight_bytes;
                own.activation_bytes = own.activation_bytes.max(stage.activation_bytes);
                own.dispatches += stage.dispatches;
                own.flops += stage.flops;
            }
            all
        });
        all.need.states = states;
        // They are few, and each is used for many rows.
        all.loads.clear();
        all
    }
}

impl Need {
    /// What two take side by side.
    pub fn beside(mut self, other: &Self) -> Self {
        let pool = |own: &mut Vec<u64>, other: &[u64]| {
            own.resize(own.len().max(other.len()), 0);
            own.iter_mut().zip(other).for_each(|(own, other)| *own = (*own).max(*other));
        };
        pool(&mut self.buffers, &other.buffers);
        pool(&mut self.by_table, &other.by_table);
        self.weights += other.weights;
        other.types.iter().for_each(|(name, bytes)| *self.types.entry(name).or_default() += bytes);
        self.states += other.states;
        self.largest_port = self.largest_port.max(other.largest_port);
        let (own, other) = (&mut self.host, &other.host);
        own.largest_weight = own.largest_weight.max(other.largest_weight);
        own.registers = own.registers.max(other.registers);
        own.pixels = own.pixels.max(other.pixels);
        own.images = own.images.max(other.images);
        own.blend = own.blend.max(other.blend);
        self
    }

    /// The activation buffers: where tuning may yet choose other cuts what they take as they are, or a 32nd more than with
    /// those of the table, since slices of k need scratch.
    pub fn activations(&self) -> u64 {
        let table: u64 = self.by_table.iter().sum();
        self.buffers.iter().sum::<u64>().max(table + table / 32)
    }

    /// Latents, states, tables, parameters, readback; on the CPU also what threads and the loading of weights take.
    pub fn states(&self, caps: &Caps) -> u64 {
        let readback = match caps.host {
            Some(host) => host.overhead + self.host.bytes(host.threads, self.activations()),
            None => self.largest_port,
        };
        self.states + readback
    }

    /// All of it.
    pub fn total(&self, caps: &Caps) -> u64 {
        self.weights + self.activations() + self.states(caps)
    }
}

impl HostCopies {
    /// Copies of registers and pixels while they are made, read and written to a file, and the pictures of the batch; or,
    /// while weights are loaded and before there are activations, those that threads are laying out, of 64 MiB at a time or a
    /// larger one: as they were, as f32 and in their new order.
    fn bytes(&self, threads: usize, activations: u64) -> u64 {
        const AT_ONCE: u64 = 64 << 20;
        let copies =
            3 * (self.registers + self.pixels) + self.images.saturating_mul(self.pixels) + self.blend;
        let weight = self.largest_weight;
        let at_once = weight.saturating_mul(threads as u64).min(weight.max(AT_ONCE));
        copies.max(at_once.saturating_mul(3).saturating_sub(activations))
    }

    /// A picture of so many pixels is put together of tiles: three sums for each.
    pub fn blends(&mut self, pixels: usize) {
        self.pixels = 4 * pixels as u64;
        self.blend = 3 * self.pixels;
    }

    fn see(&mut self, name: &str, shape: Shape) {
        if name.ends_with("registers") {
            (self.registers, self.images) = (shape.bytes(DType::F32), shape.dims()[1] as u64);
        } else if name.ends_with("image") {
            self.pixels = shape.bytes(DType::F32);
        } else if name.ends_with("pixels") {
            self.pixels = shape.bytes(DType::U32);
        }
    }
}

/// Weights that are counted: by their keys, and whether they are the refiner's.
pub(crate) type Counted = HashSet<(bool, String)>;

/// What a part takes on a device beside those before it, which may have its weights.
pub(crate) fn need(part: &PartGraphs, caps: &Caps, counted: &mut Counted) -> Result<PartNeed> {
    let aligned = |bytes: u64| bytes.next_multiple_of(caps.alignment);
    let untuned = Caps { tuned: Default::default(), ..caps.clone() };
    let (mut need, mut stages, mut loaded) = (Need::default(), Vec::new(), Vec::new());
    let (mut plans, mut by_table) = (Vec::new(), Vec::new());
    for (name, port) in &part.ports {
        let bytes = caps.bytes(port.shape, port.dtype);
        if bytes > caps.max_buffer {
            let (node, needed, limit) = (name.clone(), bytes, caps.max_buffer);
            return Err(GraphError::BufferLimit { node, needed, limit }.into());
        }
        need.states += aligned(bytes);
        need.largest_port = need.largest_port.max(aligned(bytes));
        need.host.see(name, port.shape);
    }
    for (stage, graph) in &part.graphs {
        let own: u64 = graph
            .weight_values()
            .filter(|(id, ..)| counted.insert((part.key.refines, graph.weight_key(*id))))
            .map(|(id, shape, _)| {
                let stored = caps.stored(graph.weights()[id.index()].stored);
                let bytes = stored.bytes(shape.numel());
                need.host.largest_weight = need.host.largest_weight.max(bytes);
                *need.types.entry(stored.name()).or_default() += aligned(bytes);
                aligned(bytes)
            })
            .sum();
        let plan = plan::plan(graph, part.key.precision, caps)?;
        let dispatches = match caps.host {
            Some(_) => graph.nodes().len(),
            None => lower(graph, &plan, part.key.precision, caps)?.dispatches.len(),
        };
        need.weights += own;
        // What others have loaded streams with them.
        if own > 0 {
            loaded.push((*stage, loads(graph, caps.alignment)));
        }
        if caps.host.is_none() {
            // Tuning may do any product in two launches.
            let more = if caps.tunes { plan.cuts.len() } else { 0 };
            need.states += (dispatches + more) as u64 * caps.alignment.max(256);
        }
        let (activation_bytes, flops) = (plan.bytes(), graph.flops());
        let (stage, refines) = (*stage, part.key.refines);
        stages.push(StagePlan { stage, refines, weight_bytes: own, activation_bytes, dispatches, flops });
        if caps.tunes {
            by_table.push(plan::plan(graph, part.key.precision, &untuned)?);
        }
        plans.push(plan);
    }
    let pool = |plans: &[plan::Plan]| plan::pool(&plans.iter().collect::<Vec<_>>());
    (need.buffers, need.by_table) = (pool(&plans), pool(&by_table));
    Ok(PartNeed { role: part.key.part.role(), refines: part.key.refines, need, stages, loads: loaded })
}
