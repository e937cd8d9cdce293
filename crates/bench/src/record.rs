//! What a benchmark found, as `--json` writes it: docs/benchmarks.md tells of every field.

use crate::stats::Samples;
use crate::{Error, Result};
use calotype::measure::Ceilings;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `schema` says. The number grows when a field changes its meaning or goes; new ones may come.
pub const SCHEMA: &str = "calotype-bench/1";

/// All that one command measured, on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// What was measured.
    pub program: ProgramInfo,
    /// The computer.
    pub host: Computer,
    /// What ran it.
    pub device: DeviceInfo,
    /// One a preset.
    pub runs: Vec<RunRecord>,
    /// How cost grows as work grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// Which build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// As `--version` says.
    pub version: String,
    /// The commit it was built from, with `+` where files differed from it; none where that is not known.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub profile: String,
}

/// Which computer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Computer {
    /// Such as `linux x86_64`.
    pub system: String,
    /// The processor's name, where the system tells.
    pub processor: Option<String>,
    /// Threads it runs at once.
    pub threads: usize,
    /// Runnable threads, averaged over the last minute before the start, where the system tells: above one or two,
    /// something else was going on.
    pub load: Option<f64>,
}

/// Which device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The adapter's name, or the CPU and its threads.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `cpu`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: String,
    /// The driver and its version.
    pub driver: Option<String>,
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// The tiers of kernels that are used on it.
    pub tiers: Vec<String>,
}

/// One setting, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The preset's name, or `custom`.
    pub preset: String,
    /// What was done.
    pub settings: Workload,
    /// Products of the model, or of others, whose kernels were chosen by what tuning measured on the device; 0 where the
    /// built-in table chose all.
    #[serde(default)]
    pub tuned: usize,
    /// What it takes, as planned.
    pub plan: Planned,
    /// The first picture.
    pub cold: Cold,
    /// The others.
    pub warm: Warm,
    /// The most device memory held, in bytes, as the engine counts it.
    pub peak_bytes: u64,
    /// SHA-256 of each picture's RGB pixels.
    pub pictures: Vec<String>,
    /// Whether every repetition drew them to the bit.
    pub repeatable: bool,
    /// Every stage op by op.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<Ops>,
}

/// What decides the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Workload {
    pub model: String,
    pub width: usize,
    pub height: usize,
    pub batch_size: usize,
    pub steps: usize,
    /// Of the UNet, which some samplers evaluate more than once a step.
    pub evaluations: usize,
    pub sampler: String,
    pub scheduler: String,
    pub cfg_scale: f32,
    pub seed: u64,
    pub dtype: String,
    /// Warm runs.
    pub repeats: usize,
}

/// What was known before anything ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Device memory.
    pub peak_bytes: u64,
    /// The model's part.
    pub weight_bytes: u64,
    /// Kernel launches of one UNet evaluation.
    pub unet_dispatches: usize,
    /// Floating-point operations of one UNet evaluation, guidance's two halves together.
    pub unet_flops: u64,
}

/// Seconds until there was a first picture, part by part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cold {
    /// From the start of the program.
    pub total: f64,
    /// Finding and opening the device, and proving its kernels; reading the model's JSON; the plan.
    pub open: f64,
    /// Making or reading weights, and bringing them to the device.
    pub weights: f64,
    /// Trying kernels on the device, where no start before this one had.
    #[serde(default)]
    pub tuning: f64,
    /// Compiling kernels, making buffers and bindings.
    pub compile: f64,
    /// The prompts.
    pub text: f64,
    /// Until the first step was done and its latents read: a driver compiles some things only now.
    pub first_step: f64,
    /// The other steps.
    pub other_steps: f64,
    /// The VAE.
    pub decode: f64,
}

/// Seconds, when all is in place; each a sample a repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warm {
    /// A whole batch: words to pixels.
    pub batch: Samples,
    /// The prompts, nothing kept from the run before.
    pub text: Samples,
    /// One evaluation of the UNet, with guidance and the sampler's update: the mean of a run's.
    pub step: Samples,
    /// The VAE, for the whole batch.
    pub decode: Samples,
    /// What the host takes to hand one evaluation to the device, at the least, a run; none on the CPU.
    pub submit: Option<Samples>,
}

/// Ops by shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ops {
    /// Whose clock: `timestamps`, `batches` (the host's, over repetitions) or `host`.
    pub clock: String,
    /// The device's best, measured in the same run.
    pub ceilings: Ceilings,
    /// Stage by stage.
    pub stages: Vec<StageOps>,
}

/// A stage, run once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageOps {
    /// `text encoder`, `unet context`, `unet` or `vae`.
    pub stage: String,
    /// How often a batch runs it.
    pub times: usize,
    /// Kernel launches.
    pub dispatches: usize,
    /// Seconds: all launches, each by itself.
    pub seconds: Samples,
    /// Seconds that its ops would take at the ceilings.
    pub floor: f64,
    /// Its distinct ops, the costliest first.
    pub ops: Vec<OpRow>,
}

/// All nodes of a stage that do the same work with the same kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// The op's name.
    pub op: String,
    /// Operands and output.
    pub shapes: String,
    /// The kernels it runs, in order.
    pub kernels: Vec<String>,
    /// How many such nodes there are.
    pub nodes: usize,
    /// Kernel launches of all of them.
    pub dispatches: usize,
    /// Seconds of all of them.
    pub seconds: Samples,
    /// Floating-point operations of one.
    pub flops: u64,
    /// Bytes that one has to move at least.
    pub bytes: u64,
    /// Floating-point operations a second.
    pub flops_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// `compute` or `memory`: which ceiling is the nearer.
    pub bound: String,
    /// The share of that ceiling. Above one where operands stay in caches that a large copy leaves.
    pub share: f64,
}

/// Time per step against pixels and batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// As `-m` takes it.
    pub model: String,
    /// How activations are stored.
    pub dtype: String,
    /// The device's best, measured in the same run.
    pub ceilings: Ceilings,
    /// The points, in the order in which they were measured.
    pub points: Vec<Point>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// One size and batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Pixels.
    pub side: usize,
    /// Pictures at once.
    pub batch_size: usize,
    /// Floating-point operations of an evaluation.
    pub flops: u64,
    /// Bytes of weights that an evaluation reads.
    pub weight_bytes: u64,
    /// Seconds an evaluation.
    pub step: Samples,
    /// Seconds that the ceilings allow: operations at the product's rate or weights at the copy's, whichever is more.
    pub floor: f64,
    /// Device memory, as planned.
    pub planned_bytes: u64,
}

impl Record {
    /// Reads a record.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let wrong = |why: String| Error::Record { file: file.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let none = "this is no record of `calotype bench --json`";
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| wrong(format!("{none}: {e}")))?;
        match json.get("schema").and_then(|s| s.as_str()) {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(wrong(format!("a record of schema {other}; this program reads {SCHEMA}")));
            }
            None => return Err(wrong(format!("{none}: it has no schema"))),
        }
        serde_json::from_value(json).map_err(|e| wrong(format!("the record is damaged: {e}")))
    }
}
