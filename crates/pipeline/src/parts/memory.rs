use super::need::PartNeed;
use super::{Stage, Strategy};
use calotype_graph::Caps;
use std::collections::BTreeMap;

/// Device memory by kind and by stage, in bytes: the most that is held at a time.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MemoryPlan {
    /// All of it.
    pub peak_bytes: u64,
    /// The model, or those of its components that are there when most is held.
    pub weight_bytes: u64,
    /// Of those, by how numbers are stored: `f16`, `q8_0`.
    pub weight_types: BTreeMap<&'static str, u64>,
    /// The activation buffers that the stages share.
    pub activation_bytes: u64,
    /// Latents, states, tables, parameters, readback; on the CPU also what threads and the loading of weights take.
    pub state_bytes: u64,
    /// Stage by stage.
    pub stages: Vec<StagePlan>,
    /// By which means a run keeps to that.
    pub strategy: Strategy,
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

impl MemoryPlan {
    /// What parts take by a strategy.
    pub(crate) fn of(parts: &[PartNeed], strategy: Strategy, caps: &Caps) -> Self {
        let peak = strategy.groups(parts).max_by_key(|need| need.total(caps)).unwrap_or_default();
        Self {
            peak_bytes: peak.total(caps),
            weight_bytes: peak.weights,
            weight_types: peak.types.clone(),
            activation_bytes: peak.activations(),
            state_bytes: peak.states(caps),
            stages: parts.iter().flat_map(|part| part.stages.iter().cloned()).collect(),
            strategy,
        }
    }
}
