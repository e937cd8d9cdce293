//! One setting, measured.

use crate::ops;
use crate::record::{Cold, DeviceInfo, Ops, Planned, RunRecord, Warm, Workload};
use crate::stats::Samples;
use crate::trace::trace;
use crate::{Error, Result};
use calotype::{
    Clock, Encoding, MemoryPlan, OpenDevice, Picture, Pipeline, Progress, Quant, Request, Running, Stage,
};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Task {
    /// What records call it.
    pub preset: String,
    /// The model, as records name it.
    pub model: String,
    /// What is drawn.
    pub request: Request,
    /// Warm runs.
    pub repeats: usize,
    /// Whether every launch is timed, and distinct ops are listed.
    pub ops: bool,
    /// Whether launches are traced.
    pub trace: bool,
}

/// Who hears how far a measurement is, and may end it.
pub trait Watch {
    /// A run begins.
    fn begin(&mut self, what: &str);
    /// A step is done.
    fn step(&mut self, at: &Progress);
    /// The run is over.
    fn end(&mut self);
    /// Something is known already.
    fn tell(&mut self, line: &str);
    /// Whether to stop at the next step.
    fn stops(&self) -> bool;
}

fn go_on(watch: &dyn Watch) -> Result<()> {
    if watch.stops() { Err(Error::Stopped) } else { Ok(()) }
}

/// A model on a device, nothing loaded yet.
pub struct Bench {
    pub(crate) pipeline: Pipeline,
    device: OpenDevice,
}

/// What was found of one task.
pub struct Measured {
    /// On what.
    pub device: DeviceInfo,
    /// For the record.
    pub run: RunRecord,
    /// Where it was asked for.
    pub trace: Option<serde_json::Value>,
}

/// A batch, drawn; seconds.
struct Batch {
    pictures: Vec<Picture>,
    total: f64,
    text: f64,
    /// Until the first step was done, where that was asked for.
    first_step: f64,
    /// All of them, with what goes before and after.
    denoise: f64,
    /// From the first step's begin to the last one's end.
    steps: f64,
    decode: f64,
    submit: f64,
}

impl Bench {
    /// A pipeline that has drawn nothing yet, and the device it is on.
    pub fn new(pipeline: Pipeline, device: OpenDevice) -> Self {
        Self { pipeline, device }
    }

    /// How activations are stored, `f16` or `f32`, and weights where they are asked to be in blocks.
    pub(crate) fn dtype(&self) -> String {
        let dtype = self.pipeline.precision().dtype();
        match self.pipeline.model().quant {
            Quant::Kept | Quant::Off => dtype.to_string(),
            Quant::Q8_0 => format!("{dtype} {}", Encoding::Q8_0),
            Quant::Q4_0 => format!("{dtype} {}", Encoding::Q4_0),
        }
    }

    fn on_gpu(&self) -> bool {
        self.device.adapter.is_some()
    }

    /// What a request takes; an error where that is more than there is.
    pub(crate) fn check(&self, request: &Request) -> Result<MemoryPlan> {
        Ok(self.pipeline.check(&self.pipeline.settle(request)?)?)
    }

    /// The device, for the record.
    pub fn device(&self) -> DeviceInfo {
        let name = self.pipeline.executor().describe();
        match &self.device.adapter {
            None => DeviceInfo {
                name,
                backend: "cpu".into(),
                kind: "cpu".into(),
                driver: None,
                memory: self.pipeline.executor().room().map(|room| room.bytes),
                tiers: Vec::new(),
            },
            Some(a) => DeviceInfo {
                name: a.name.clone(),
                backend: a.backend.clone(),
                kind: a.kind.clone(),
                driver: Some(a.driver.clone()).filter(|d| !d.is_empty()),
                memory: a.memory,
                tiers: a.tiers.iter().filter(|t| t.used).map(|t| t.tier.to_string()).collect(),
            },
        }
    }

    /// How often a request evaluates the UNet.
    pub(crate) fn evaluations(&self, request: &Request) -> Result<usize> {
        Ok(self.pipeline.settle(request)?.program.steps.len())
    }

    /// Seconds of a request's steps, the prompts being known already.
    pub(crate) fn steps(&mut self, request: &Request, watch: &mut dyn Watch) -> Result<f64> {
        let (negative, positive) = self.pipeline.conditions(request)?;
        let mut last = Duration::ZERO;
        self.pipeline.denoise(request, negative.as_deref(), &positive, |at, _| {
            last = at.elapsed;
            if watch.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        go_on(watch)?;
        Ok(last.as_secs_f64())
    }

    fn draw(
        &mut self,
        request: &Request,
        first_apart: bool,
        what: &str,
        watch: &mut dyn Watch,
    ) -> Result<Batch> {
        watch.begin(what);
        let drawn = self.batch(request, first_apart, watch);
        watch.end();
        go_on(watch)?;
        drawn
    }

    fn batch(&mut self, request: &Request, first_apart: bool, watch: &mut dyn Watch) -> Result<Batch> {
        let start = Instant::now();
        self.pipeline.forget_prompts();
        let (negative, positive) = self.pipeline.conditions(request)?;
        let text = start.elapsed();
        let denoise = Instant::now();
        let (mut first, mut steps, mut submit) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
        let mut failed = None;
        let latents =
            self.pipeline.denoise(request, negative.as_deref(), &positive, |at, run: &Running<'_>| {
                if first_apart && at.step == 1 {
                    // Reading waits for the device.
                    failed = run.latents().err();
                    first = denoise.elapsed();
                }
                steps = at.elapsed;
                submit = submit.min(at.submit);
                watch.step(at);
                let stop = watch.stops() || failed.is_some();
                if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let latents = latents?;
        let denoise = denoise.elapsed();
        let broken = latents.to_f32().iter().filter(|v| !v.is_finite()).count();
        if broken > 0 {
            return Err(Error::NotFinite(broken));
        }
        let decode = Instant::now();
        // Fails where a pixel is not finite, and where all are alike.
        let pictures = self.pipeline.decode_latents(&latents)?;
        let (decode, total) = (decode.elapsed(), start.elapsed());
        let [total, text, first_step, denoise, steps, decode, submit] =
            [total, text, first, denoise, steps, decode, submit].map(|d| d.as_secs_f64());
        Ok(Batch { pictures, total, text, first_step, denoise, steps, decode, submit })
    }
}

/// Measures a task. `started` is when the program began.
pub fn measure(bench: &mut Bench, task: &Task, started: Instant, watch: &mut dyn Watch) -> Result<Measured> {
    let Task { preset: name, request, .. } = task;
    let plan = bench.check(request)?;
    let evaluations = bench.evaluations(request)?;
    let settings = workload(bench, task, evaluations)?;

    // The first picture.
    let open = started.elapsed().as_secs_f64();
    let load = bench.pipeline.load(request)?;
    let first = bench.draw(request, true, &format!("{name}, first picture"), watch)?;
    let cold = Cold {
        total: started.elapsed().as_secs_f64(),
        open: open + load.other.as_secs_f64(),
        weights: load.weights.as_secs_f64(),
        tuning: load.tuning.as_secs_f64(),
        compile: load.compile.as_secs_f64(),
        text: first.text,
        first_step: first.first_step,
        other_steps: first.denoise - first.first_step,
        decode: first.decode,
    };
    let pictures = hashes(&first.pictures);

    // The others.
    let mut repeatable = true;
    let mut drawn = Vec::new();
    for i in 1..=task.repeats {
        let one = bench.draw(request, false, &format!("{name}, run {i} of {}", task.repeats), watch)?;
        repeatable &= hashes(&one.pictures) == pictures;
        drawn.push(one);
    }
    let samples = |of: fn(&Batch) -> f64| Samples::new(drawn.iter().map(of).collect());
    let warm = Warm {
        batch: samples(|d| d.total),
        text: samples(|d| d.text),
        step: samples(|d| d.steps).times(1.0 / evaluations as f64),
        decode: samples(|d| d.decode),
        submit: bench.on_gpu().then(|| samples(|d| d.submit)),
    };
    let peak_bytes = bench.pipeline.executor().memory().peak;
    let tuned = bench.pipeline.executor().caps().tuned.len();
    // Tuning may have split some products in two launches since.
    let ran = bench.pipeline.plan(request)?;
    let unet = ran.stages.iter().find(|stage| stage.stage == Stage::Step);
    let planned = Planned {
        peak_bytes: plan.peak_bytes,
        weight_bytes: plan.weight_bytes,
        unet_dispatches: unet.map_or(0, |s| s.dispatches),
        unet_flops: unet.map_or(0, |s| s.flops),
    };
    let device = bench.device();
    let guided = bench.pipeline.settle(request)?.guided();

    // Launch by launch.
    let (mut ops, mut traced) = (None, None);
    if task.ops || task.trace {
        let stages = bench.pipeline.profile(request, task.repeats)?;
        go_on(watch)?;
        traced = task.trace.then(|| trace(&device.name, &stages));
        let ceilings = bench.pipeline.ceilings()?;
        let times = |stage: Stage| match stage {
            Stage::Text | Stage::Text2 => 1 + usize::from(guided),
            Stage::Encoder | Stage::Context | Stage::ReusingContext => 1,
            Stage::Step | Stage::Reusing => evaluations,
            Stage::Decoder => request.batch_size,
        };
        let clock = match stages.first().map(|s| s.clock) {
            Some(Clock::Timestamps) => "timestamps",
            Some(Clock::Batches) => "batches",
            _ => "host",
        };
        let stages = stages.iter().map(|s| ops::stage(s, &ceilings, times(s.stage))).collect();
        ops = task.ops.then(|| Ops { clock: clock.into(), ceilings, stages });
    }
    let preset = name.clone();
    let run = RunRecord {
        preset,
        settings,
        tuned,
        plan: planned,
        cold,
        warm,
        peak_bytes,
        pictures,
        repeatable,
        ops,
    };
    Ok(Measured { device, run, trace: traced })
}

fn workload(bench: &Bench, task: &Task, evaluations: usize) -> Result<Workload> {
    let order = bench.pipeline.settle(&task.request)?;
    Ok(Workload {
        model: task.model.clone(),
        width: order.width,
        height: order.height,
        batch_size: order.batch_size,
        steps: order.steps,
        evaluations,
        sampler: order.sampler.to_string(),
        scheduler: order.schedule.unwrap_or_default().to_string(),
        cfg_scale: order.cfg_scale,
        seed: order.origin.seed,
        dtype: bench.dtype(),
        repeats: task.repeats,
    })
}

/// SHA-256 of each picture's RGB values.
fn hashes(pictures: &[Picture]) -> Vec<String> {
    let hex =
        |p: &Picture| -> String { Sha256::digest(p.rgb()).iter().map(|b| format!("{b:02x}")).collect() };
    pictures.iter().map(hex).collect()
}
