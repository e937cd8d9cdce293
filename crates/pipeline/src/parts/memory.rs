use super::{PartGraphs, PortSpec, Stage};
use crate::error::Result;
use calotype_graph::plan::{self, Plan};
use calotype_graph::{Caps, Error as GraphError, lower};
use calotype_tensor::{DType, Shape};
use std::collections::{BTreeMap, HashSet};

/// Device memory by kind and by stage, in bytes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MemoryPlan {
    /// All of it.
    pub peak_bytes: u64,
    /// The model.
    pub weight_bytes: u64,
    /// Of those, by how numbers are stored: `f16`, `q8_0`.
    pub weight_types: BTreeMap<&'static str, u64>,
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
    /// What it is.
    #[serde(rename = "name")]
    pub stage: Stage,
    /// Whether it is the refiner's.
    #[serde(rename = "refiner")]
    pub refines: bool,
    /// Weights it adds to those before.
    pub weight_bytes: u64,
    /// Activation buffers it would need by itself.
    pub activation_bytes: u64,
    /// Kernel launches of one run.
    pub dispatches: usize,
    /// Floating-point operations of one run.
    pub flops: u64,
}

/// What parts that are there at the same time take on a device.
pub(crate) fn memory(parts: &[PartGraphs], caps: &Caps) -> Result<MemoryPlan> {
    let aligned = |bytes: u64| bytes.next_multiple_of(caps.alignment);
    let untuned = Caps { tuned: Default::default(), ..caps.clone() };
    let mut seen = HashSet::new();
    let (mut stages, mut plans, mut table) = (Vec::new(), Vec::new(), Vec::new());
    let (mut weight_bytes, mut params_bytes, mut largest_weight) = (0, 0, 0);
    let mut weight_types = BTreeMap::new();
    for part in parts {
        check_ports(part.ports.iter().map(|(name, port)| (&**name, port.shape, port.dtype)), caps)?;
        for (stage, graph) in &part.graphs {
            let own: u64 = graph
                .weight_values()
                .filter(|(id, ..)| seen.insert(graph.weight_key(*id)))
                .map(|(id, shape, _)| {
                    let stored = caps.stored(graph.weights()[id.index()].stored);
                    let bytes = stored.bytes(shape.numel());
                    largest_weight = largest_weight.max(bytes);
                    *weight_types.entry(stored.name()).or_default() += aligned(bytes);
                    aligned(bytes)
                })
                .sum();
            let plan = plan::plan(graph, part.key.precision, caps)?;
            let dispatches = match caps.host {
                Some(_) => graph.nodes().len(),
                None => lower(graph, &plan, part.key.precision, caps)?.dispatches.len(),
            };
            weight_bytes += own;
            // Tuning may do any product in two launches.
            let more = if caps.tunes { plan.cuts.len() } else { 0 };
            params_bytes +=
                if caps.host.is_some() { 0 } else { (dispatches + more) as u64 * caps.alignment.max(256) };
            stages.push(StagePlan {
                stage: *stage,
                refines: part.key.refines,
                weight_bytes: own,
                activation_bytes: plan.bytes(),
                dispatches,
                flops: graph.flops(),
            });
            if caps.tunes {
                table.push(plan::plan(graph, part.key.precision, &untuned)?);
            }
            plans.push(plan);
        }
    }
    let [plans, table] = [&plans, &table].map(|plans| plans.iter().collect::<Vec<&Plan>>());
    let activation_bytes = match caps.tunes {
        false => plan::pool(&plans).iter().sum(),
        true => plan::allowance(&plans, &table),
    };
    let bytes = |port: &PortSpec| aligned(caps.bytes(port.shape, port.dtype));
    let ports = || parts.iter().flat_map(|part| part.ports.values()).map(bytes);
    let readback = match caps.host {
        Some(host) => {
            let shapes = parts.iter().flat_map(|part| &part.ports).map(|(name, port)| (&**name, port.shape));
            host.overhead + host_bytes(shapes, host.threads, largest_weight, activation_bytes)
        }
        // What is read back passes through a copy of the largest port that is ever read.
        None => ports().max().unwrap_or(0),
    };
    let state_bytes = ports().sum::<u64>() + params_bytes + readback;
    let peak_bytes = weight_bytes + activation_bytes + state_bytes;
    Ok(MemoryPlan { peak_bytes, weight_bytes, weight_types, activation_bytes, state_bytes, stages })
}

/// Fails where a port is larger than any buffer of the device.
fn check_ports<'a>(ports: impl Iterator<Item = (&'a str, Shape, DType)>, caps: &Caps) -> Result<()> {
    for (name, shape, dtype) in ports {
        let (needed, limit) = (caps.bytes(shape, dtype), caps.max_buffer);
        if needed > limit {
            return Err(GraphError::BufferLimit { node: name.into(), needed, limit }.into());
        }
    }
    Ok(())
}

/// What a picture takes in the host's memory besides what an executor there holds for it: copies of registers and pixels
/// while they are made, read and written to a file, and the pictures of the batch; or, while weights are loaded and before
/// there are activations, those that threads are laying out, of 64 MiB at a time or a larger one: as they were, as f32 and
/// in their new order.
fn host_bytes<'a>(
    ports: impl Iterator<Item = (&'a str, Shape)>,
    threads: usize,
    largest_weight: u64,
    activation_bytes: u64,
) -> u64 {
    const AT_ONCE: u64 = 64 << 20;
    let (mut registers, mut pixels, mut images) = (0, 0, 0);
    for (name, shape) in ports {
        if name.ends_with("registers") {
            (registers, images) = (shape.bytes(DType::F32), shape.dims()[1] as u64);
        } else if name.ends_with("pixels") {
            pixels = shape.bytes(DType::U32);
        }
    }
    let copies = 3 * (registers + pixels) + images.saturating_mul(pixels);
    let at_once = largest_weight.saturating_mul(threads as u64).min(largest_weight.max(AT_ONCE));
    let loading = at_once.saturating_mul(3);
    copies.max(loading.saturating_sub(activation_bytes))
}
