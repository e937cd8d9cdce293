//! One setting, measured.

use super::args::BenchArgs;
use super::ops;
use super::presets::{PROMPT, Preset};
use super::record::{Cold, DeviceInfo, Ops, Planned, Run, Warm, Workload};
use super::stats::Samples;
use super::trace::trace;
use crate::memory;
use crate::progress::RunProgress;
use crate::{device, interrupt};
use anyhow::bail;
use calotype::{Clock, HostTensor, MemoryPlan, OpenDevice, Picture, Pipeline, Request, Stage, builtin};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A model on a device, nothing loaded yet.
pub struct Bench {
    pub pipeline: Pipeline,
    opened: OpenDevice,
}

/// What a command found of one setting.
pub struct Measured {
    pub device: DeviceInfo,
    pub run: Run,
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

/// Where `--model` and the preset point to; none for the built-in model.
pub fn place<'a>(args: &'a BenchArgs, preset: Option<&Preset>) -> Option<&'a str> {
    args.model.as_deref().or(preset.and_then(|p| p.model))
}

impl Bench {
    /// Opens the model and the device.
    pub fn open(args: &BenchArgs, preset: Option<&Preset>, request: &Request) -> anyhow::Result<Self> {
        request.check().map_err(calotype::Error::from)?;
        let place = device::find(place(args, preset), &args.hub, args.device.dtype, false)?;
        let guess = args.device.likely_precision();
        let mut model = place.open(guess)?;
        request.size(&model).map_err(calotype::Error::from)?;
        let opened = args.device.device()?.open()?;
        let precision = args.device.precision(&opened);
        if precision != guess {
            model = place.open(precision)?;
        }
        Ok(Self { pipeline: device::pipeline(&opened, model, precision), opened })
    }

    pub fn on_gpu(&self) -> bool {
        self.opened.adapter.is_some()
    }

    /// What a request takes; an error where that is more than there is.
    pub fn check(&self, request: &Request) -> anyhow::Result<MemoryPlan> {
        let precision = self.pipeline.precision();
        let order = self.pipeline.settle(request)?;
        Ok(memory::check(&self.opened, self.pipeline.model(), &order, precision)?)
    }

    /// The device, for the record.
    pub fn device(&self) -> DeviceInfo {
        let name = self.pipeline.executor().describe();
        match &self.opened.adapter {
            None => DeviceInfo {
                name,
                backend: "cpu".into(),
                kind: "cpu".into(),
                driver: None,
                memory: memory::room(&self.opened).map(|room| room.bytes),
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
    pub fn evaluations(&self, request: &Request) -> anyhow::Result<usize> {
        Ok(self.pipeline.settle(request)?.program.steps.len())
    }

    /// The prompts' states: the negative one's where the request is guided, and the other.
    fn encode(&mut self, request: &Request) -> anyhow::Result<(Option<Vec<HostTensor>>, Vec<HostTensor>)> {
        let positive = vec![self.pipeline.encode_text(&request.prompts[0])?];
        let negative = &request.negative_prompts[0];
        let guided = self.pipeline.settle(request)?.guided();
        let negative = guided.then(|| self.pipeline.encode_text(negative)).transpose()?;
        Ok((negative.map(|n| vec![n]), positive))
    }

    /// Seconds of a request's steps, the prompts being known already.
    pub fn steps(&mut self, request: &Request) -> anyhow::Result<f64> {
        let (negative, positive) = self.encode(request)?;
        let mut last = Duration::ZERO;
        self.pipeline.denoise(request, negative.as_deref(), &positive, |at, _| {
            last = at.elapsed;
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        interrupt::check()?;
        Ok(last.as_secs_f64())
    }

    fn draw(
        &mut self,
        request: &Request,
        first_apart: bool,
        mut progress: RunProgress,
    ) -> anyhow::Result<Batch> {
        let start = Instant::now();
        self.pipeline.forget_prompts();
        let (negative, positive) = self.encode(request)?;
        let text = start.elapsed();
        let denoise = Instant::now();
        let (mut first, mut steps, mut submit) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
        let mut failed = None;
        let latents = self.pipeline.denoise(request, negative.as_deref(), &positive, |at, latents| {
            if first_apart && at.step == 1 {
                // Reading waits for the device.
                failed = latents().err();
                first = denoise.elapsed();
            }
            steps = at.elapsed;
            submit = submit.min(at.submit);
            progress.step(at);
            let stop = interrupt::asked() || failed.is_some();
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.finish();
        interrupt::check()?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let latents = latents?;
        let denoise = denoise.elapsed();
        let broken = latents.to_f32().iter().filter(|v| !v.is_finite()).count();
        if broken > 0 {
            bail!(
                "the UNet produced {broken} values that are not finite: a time for that would mean nothing"
            );
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

/// The request of a preset, as the flags change it.
pub fn request(args: &BenchArgs, preset: Option<&Preset>) -> Request {
    let side = preset.and_then(|p| p.side);
    Request {
        width: args.width.or(side),
        height: args.height.or(side),
        batch_size: args.batch_size.or(preset.map(|p| p.batch_size)).unwrap_or(1),
        steps: Some(args.steps.or(preset.map(|p| p.steps)).unwrap_or(20)),
        cfg_scale: Some(args.cfg_scale),
        few_steps: Some(false),
        sampler: args.sampler.or(preset.map(|p| p.sampler)),
        seed: args.seed,
        ..Request::new(PROMPT)
    }
}

/// Measures a preset, or what the flags say. `started` is when the program began.
pub fn measure(args: &BenchArgs, preset: Option<&Preset>, started: Instant) -> anyhow::Result<Measured> {
    let request = request(args, preset);
    let mut bench = Bench::open(args, preset, &request)?;
    let plan = bench.check(&request)?;
    let evaluations = bench.evaluations(&request)?;
    let settings = settings(args, preset, &bench, &request, evaluations)?;
    let name = preset.map_or("custom", |p| p.name);
    let label = |what: &str| RunProgress::new(format!("{name}, {what}: "), false);

    // The first picture.
    let open = started.elapsed().as_secs_f64();
    let load = bench.pipeline.load(&request)?;
    let first = bench.draw(&request, true, label("first picture"))?;
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
    for i in 1..=args.repeats {
        let one = bench.draw(&request, false, label(&format!("run {i} of {}", args.repeats)))?;
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
    let ran = bench.pipeline.plan(&request)?;
    let unet = ran.stages.iter().find(|stage| stage.stage == Stage::Step);
    let planned = Planned {
        peak_bytes: plan.peak_bytes,
        weight_bytes: plan.weight_bytes,
        unet_dispatches: unet.map_or(0, |s| s.dispatches),
        unet_flops: unet.map_or(0, |s| s.flops),
    };
    let device = bench.device();

    // Launch by launch.
    let (mut ops, mut traced) = (None, None);
    if args.ops || args.trace.is_some() {
        let stages = bench.pipeline.profile(&request, args.repeats as usize)?;
        interrupt::check()?;
        traced = args.trace.is_some().then(|| trace(&device.name, &stages));
        let ceilings = bench.pipeline.ceilings()?;
        let times = |stage: Stage| match stage {
            Stage::Text => 1 + usize::from(settings.cfg_scale > 1.0),
            Stage::Context => 1,
            Stage::Step => evaluations,
            Stage::Decoder => request.batch_size,
        };
        let clock = match stages.first().map(|s| s.clock) {
            Some(Clock::Timestamps) => "timestamps",
            Some(Clock::Batches) => "batches",
            _ => "host",
        };
        let stages = stages.iter().map(|s| ops::stage(s, &ceilings, times(s.stage))).collect();
        ops = args.ops.then(|| Ops { clock: clock.into(), ceilings, stages });
    }
    let preset = name.to_string();
    let run =
        Run { preset, settings, tuned, plan: planned, cold, warm, peak_bytes, pictures, repeatable, ops };
    Ok(Measured { device, run, trace: traced })
}

fn settings(
    args: &BenchArgs,
    preset: Option<&Preset>,
    bench: &Bench,
    request: &Request,
    evaluations: usize,
) -> anyhow::Result<Workload> {
    let order = bench.pipeline.settle(request)?;
    Ok(Workload {
        model: place(args, preset).unwrap_or(builtin::NAME).into(),
        width: order.width,
        height: order.height,
        batch_size: order.batch_size,
        steps: order.steps,
        evaluations,
        sampler: order.scheduler.sampler.to_string(),
        scheduler: order.scheduler.config.schedule.to_string(),
        cfg_scale: order.cfg_scale,
        seed: order.seed,
        dtype: device::name(bench.pipeline.precision()).into(),
        repeats: args.repeats as usize,
    })
}

/// SHA-256 of each picture's RGB values.
fn hashes(pictures: &[Picture]) -> Vec<String> {
    let hex =
        |p: &Picture| -> String { Sha256::digest(p.rgb()).iter().map(|b| format!("{b:02x}")).collect() };
    pictures.iter().map(hex).collect()
}
