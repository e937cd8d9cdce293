//! `calotype generate`.

use crate::args::{GenerateArgs, PreviewArgs};
use crate::exit::{Interrupted, Usage};
use crate::files::OutputFiles;
use crate::hashes::Hashing;
use crate::output::DASH;
use crate::preview::Previews;
use crate::progress::RunProgress;
use crate::report::{Report, Seconds};
use crate::styles::Styles;
use crate::text::Lines;
use crate::{device, interrupt, latents, memory, text, wanted};
use anyhow::{Context, bail};
use calotype::noise::Origin;
use calotype::{
    BatchSeeds, Hashes, Model, Order, Output, Pipeline, Precision, Recalled, Request, Strategy, builtin,
    random_seed,
};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Checks all that can be checked, then draws.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let recalled = wanted::recalled(args)?;
    let prompts = prompts(args, recalled.as_ref())?;
    let mut request = request(args, recalled.as_ref())?;
    let mut args = args.clone();
    args.picture.lora = wanted::loras(&args, request.prompt_style, &prompts, recalled.as_ref())?;
    args.words.embedding = wanted::embeddings(&args.words, &request, &prompts)?;
    wanted::tell_missing(&args.words, recalled.as_ref());
    let args = &args;
    request.prompts = vec![prompts[0].clone()];
    let runs = (prompts.len() as u64).saturating_mul(args.batch_count.into());
    let mut files = OutputFiles::new(args, runs, request.batch_size)?;

    // The model's own files say what sizes it takes: mistakes are told before a device is opened.
    let found = device::find_for(&args.picture, args.device.dtype, args.json)?;
    interrupt::install()?;
    let open =
        |precision| device::model(&found, &args.device, precision, &args.picture.lora, &args.words.embedding);
    let guess = args.device.likely_precision();
    let mut model = open(guess)?;
    fit_noise(&mut request, &model)?;
    let longest = longest(args, &mut request, &prompts, &model)?;
    model.take_form(longest.few_steps.is_some())?;
    let opened = args.device.device()?.open()?;
    let precision = args.device.precision(&opened);
    if precision != guess {
        model = open(precision)?;
        model.take_form(longest.few_steps.is_some())?;
    }
    let mut pipeline = device::pipeline(&opened, model, precision, &args.memory);
    let plan = pipeline.check(&longest)?;
    if plan.strategy != Strategy::default() {
        log::info!("memory: {}", plan.strategy);
    }
    if let Some(recipe) = pipeline.model().recipe().filter(|_| !args.json) {
        text::note(&format!("{recipe}; flags overrule that"));
    }
    if args.grid {
        memory::check_grid(runs, &longest, calotype::host_room().as_ref())?;
    }
    if precision == Precision::F16 && opened.adapter.is_none() {
        log::warn!("--dtype f16 saves nothing on the CPU, which computes and stores in f32");
    }

    let mut lines = Lines::default();
    let (mut hashing, mut hashes) = (Some(Hashing::begin(args, found.file())), Hashes::default());
    let (mut done, mut previews) = (0, Previews::new(&args.preview));
    for prompt in &prompts {
        request.prompts = vec![prompt.clone()];
        if done == 0 && previews.are_wanted() {
            pipeline.prepare_previews(&request)?;
        }
        let mut order = pipeline.settle(&request)?;
        for _ in 0..args.batch_count {
            interrupt::check()?;
            done += 1;
            let label = if runs > 1 { format!("[{done}/{runs}] ") } else { String::new() };
            let start = Instant::now();
            let progress = RunProgress::new(label, args.json);
            let output = draw_shown(&mut pipeline, &order, progress, &mut previews)?;
            let elapsed = start.elapsed();
            hashes = hashing.take().map_or(hashes, Hashing::end);
            order.hashes.clone_from(&hashes);
            let mut report = report(args, &order, &pipeline, &output, plan.peak_bytes);
            files.write(&order, &output, &mut report)?;
            if done == runs {
                files.write_grid(&order, &mut report)?;
            }
            let write = start.elapsed() - elapsed;
            report.timings = Seconds::new(&output.timings, write, start.elapsed());
            report.print(&mut lines, args.json, order.noise.is_none())?;
            // The seeds go on where this batch ended.
            let taken =
                if order.origin.batch_seeds == BatchSeeds::Each { order.batch_size as u64 } else { 1 };
            // Variations go on from the other seed, as within a batch.
            let Origin { seed, variation, .. } = &mut order.origin;
            let moving = variation.as_mut().map_or(seed, |variation| &mut variation.seed);
            *moving = moving.wrapping_add(taken);
        }
    }
    Ok(lines.end()?)
}

/// The order of the prompt that takes most memory. What is wrong with any of them is told before the first is drawn.
fn longest(
    args: &GenerateArgs,
    request: &mut Request,
    prompts: &[String],
    model: &Model,
) -> anyhow::Result<Order> {
    let mut longest: Option<Order> = None;
    for prompt in prompts {
        request.prompts = vec![prompt.clone()];
        let order = request.settle(model);
        let order = match &args.from_file {
            Some(file) => order.with_context(|| format!("--from-file {}: {prompt:?}", file.display()))?,
            None => order?,
        };
        if longest.as_ref().is_none_or(|longest| longest.tokens < order.tokens) {
            longest = Some(order);
        }
    }
    longest.context("there is no prompt")
}

/// One run, unless Ctrl-C ends it.
pub fn draw(pipeline: &mut Pipeline, order: &Order, progress: RunProgress) -> anyhow::Result<Output> {
    draw_shown(pipeline, order, progress, &mut Previews::new(&PreviewArgs::default()))
}

/// The same, shown as it is drawn.
fn draw_shown(
    pipeline: &mut Pipeline,
    order: &Order,
    mut progress: RunProgress,
    previews: &mut Previews<'_>,
) -> anyhow::Result<Output> {
    let output = pipeline.draw(order, |at, run| {
        progress.step(at);
        previews.step(at, run);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    match output {
        Err(e) if e.is_stopped() => Err(Interrupted.into()),
        Err(e) => Err(e.into()),
        Ok(output) => {
            interrupt::check()?;
            Ok(output)
        }
    }
}

/// The prompt, or those of the file.
pub fn prompts(args: &GenerateArgs, recalled: Option<&Recalled>) -> anyhow::Result<Vec<String>> {
    let styles = Styles::read(&args.words)?;
    let Some(path) = &args.from_file else {
        let carried = recalled.and_then(|recalled| recalled.request.prompts.first());
        return Ok(args.prompt.iter().chain(carried).take(1).map(|prompt| styles.prompt(prompt)).collect());
    };
    let name = path.display();
    let read = if path.as_os_str() == DASH {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = read
        .with_context(|| format!("--from-file {name}: cannot be read as a text file of one prompt a line"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let prompts: Vec<String> =
        lines.filter(|line| !line.is_empty()).map(|line| styles.prompt(line)).collect();
    if prompts.is_empty() {
        bail!("--from-file {name}: the file holds no prompt; write one a line");
    }
    Ok(prompts)
}

/// The request without its prompt; what needs no model is checked.
pub fn request(args: &GenerateArgs, recalled: Option<&Recalled>) -> anyhow::Result<Request> {
    let mut request = args.picture.request("");
    request.negative_prompts = vec![args.negative_prompt.clone()];
    request.batch_seeds = args.batch_seeds.policy();
    args.noise.apply(&mut request);
    args.sdxl.apply(&mut request);
    args.words.apply(&mut request);
    let mut seed = args.seed.and_then(|seed| seed.0);
    if let Some(recalled) = recalled {
        request = wanted::over(&recalled.request, &request)?;
        seed = seed.or(recalled.seed.filter(|_| args.seed.is_none()));
    }
    let styles = Styles::read(&args.words)?;
    request.negative_prompts.iter_mut().for_each(|text| *text = styles.negative_prompt(text));
    request.seed = seed.unwrap_or_else(random_seed);
    args.picture.init.apply(&mut request, recalled)?;
    if let Some(path) = &args.latents {
        if args.batch_count > 1 {
            let why =
                "--batch-count with --latents would draw the same pictures again: leave one of them out";
            return Err(Usage(why.into()).into());
        }
        latents::read(path, &mut request).with_context(|| "--latents".to_string())?;
        if let (None, Some(noise)) = (args.picture.batch_size, &request.noise) {
            request.batch_size = noise.latents.shape().dims()[0];
        }
    }
    request.check()?;
    Ok(request)
}

/// Takes the size from given noise where no flag gives it, and sees that they agree.
pub fn fit_noise(request: &mut Request, model: &Model) -> anyhow::Result<()> {
    let factor = model.config.vae.factor();
    if let Some(noise) = &request.noise {
        let &[b, c, h, w] = noise.latents.shape().dims() else { bail!("--latents: not [B, C, h, w]") };
        request.width.get_or_insert(w * factor);
        request.height.get_or_insert(h * factor);
        let [height, width] = request.size(model)?;
        let wanted = [request.batch_size, model.config.vae.latent_channels, height / factor, width / factor];
        if [b, c, h, w] != wanted {
            return Err(Usage(format!(
                "--latents: tensor latents has shape {:?}, and {} pictures of {width}x{height} take {wanted:?}: \
                 change the file, or leave out --width, --height and --batch-size",
                [b, c, h, w],
                request.batch_size
            ))
            .into());
        }
    }
    Ok(())
}

/// What a run tells, but for its files and times.
pub fn report(
    args: &GenerateArgs,
    order: &Order,
    pipeline: &Pipeline,
    output: &Output,
    planned_bytes: u64,
) -> Report {
    Report {
        cell: None,
        files: Vec::new(),
        grid: None,
        latents: None,
        prompt: order.prompts[0].clone(),
        negative_prompt: order.negative_prompts[0].clone(),
        model: args.picture.model.clone().unwrap_or_else(|| builtin::NAME.into()),
        refiner: args.picture.refiner.clone(),
        sampler: order.sampler.to_string(),
        scheduler: order.schedule.unwrap_or_default().to_string(),
        few_steps: order.few_steps.clone(),
        loras: order.loras.clone(),
        steps: order.steps,
        cfg_scale: order.cfg_scale,
        width: order.width,
        height: order.height,
        seed: order.origin.seed,
        seeds: output.seeds.clone(),
        device: pipeline.executor().describe(),
        dtype: device::name(pipeline.precision()),
        timings: Seconds::new(&output.timings, Duration::ZERO, Duration::ZERO),
        peak_bytes: output.memory.peak,
        planned_bytes,
    }
}
