//! `calotype bench`: one program, no download, any adapter. docs/benchmarks.md says how to read it.

use crate::args::{BackendName, BenchArgs};
use crate::exit::{Interrupted, Usage};
use crate::output::{self, Series, is_stdout};
use crate::progress::RunProgress;
use crate::{device, interrupt, text};
use anyhow::{Context, bail};
use calotype::{AdapterReport, Backend, Progress, Request, builtin};
use calotype_bench as bench;
use calotype_bench::{
    Bench, Computer, DeviceInfo, FIXED, Measured, PROMPT, Preset, ProgramInfo, QUICK, Record, RunRecord,
    SCHEMA, SweepTask, Task, Watch,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

/// Measures, or compares what was measured. `started` is when the program began.
pub fn run(args: &BenchArgs, started: Instant) -> anyhow::Result<()> {
    if let Some([before, after]) = args.compare.as_deref() {
        let said = bench::compare(&Record::read(before)?, &Record::read(after)?, args.markdown);
        return text::result(&said);
    }
    if args.child {
        let found = measure(args, args.presets.first().copied(), started)?;
        return text::json(&record(found.device, vec![found.run], host()));
    }
    let mut files = RecordFiles::new(args)?;
    interrupt::install()?;
    let host = host();
    let presets = presets(args);
    if args.sweep {
        return swept(args, &presets, host, files);
    }
    let (device, runs) = match presets[..] {
        [] | [_] => {
            let found = measure(args, presets.first().copied(), started)?;
            if let (Some(file), Some(trace)) = (&mut files.trace, &found.trace) {
                file.write(serde_json::to_string(trace)?.as_bytes())?;
            }
            (found.device, vec![found.run])
        }
        _ => apart(&presets)?,
    };
    let record = record(device, runs, host);
    files.write_json(&record)?;
    if !files.silent { text::result(&bench::render(&record, args.markdown)) } else { Ok(()) }
}

/// Tells of runs on stderr, and ends them at Ctrl-C.
#[derive(Default)]
struct Teller(Option<RunProgress>);

impl Watch for Teller {
    fn begin(&mut self, what: &str) {
        self.0 = Some(RunProgress::new(format!("{what}: "), false));
    }

    fn step(&mut self, at: &Progress) {
        self.0.iter_mut().for_each(|progress| progress.step(at));
    }

    fn end(&mut self) {
        self.0.take().into_iter().for_each(RunProgress::finish);
    }

    fn tell(&mut self, line: &str) {
        text::note(line);
    }

    fn stops(&self) -> bool {
        interrupt::asked()
    }
}

/// What the bench says, as this program ends by it.
fn failed(error: bench::Error) -> anyhow::Error {
    match error {
        bench::Error::Stopped => Interrupted.into(),
        bench::Error::Calotype(error) => error.into(),
        other => other.into(),
    }
}

/// Where `--model` and the preset point to; none for the built-in model.
fn place<'a>(args: &'a BenchArgs, preset: Option<&Preset>) -> Option<&'a str> {
    args.model.as_deref().or(preset.and_then(|p| p.model))
}

/// The request of a preset, as the flags change it.
fn request(args: &BenchArgs, preset: Option<&Preset>) -> Request {
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

/// Opens the model and the device.
fn open(args: &BenchArgs, preset: Option<&Preset>, request: &Request) -> anyhow::Result<Bench> {
    request.check()?;
    let place = device::find(place(args, preset), &args.hub, args.device.dtype, false)?;
    let guess = args.device.likely_precision();
    let mut model = place.open(guess)?;
    request.size(&model)?;
    let opened = args.device.device()?.open()?;
    let precision = args.device.precision(&opened);
    if precision != guess {
        model = place.open(precision)?;
    }
    model.quant = args.device.quant.unwrap_or_default();
    let pipeline = device::pipeline(&opened, model, precision, &args.memory);
    Ok(Bench::new(pipeline, opened))
}

fn measure(args: &BenchArgs, preset: Option<&Preset>, started: Instant) -> anyhow::Result<Measured> {
    let task = Task {
        preset: preset.map_or("custom", |p| p.name).into(),
        model: place(args, preset).unwrap_or(builtin::NAME).into(),
        request: request(args, preset),
        repeats: args.repeats as usize,
        ops: args.ops,
        trace: args.trace.is_some(),
    };
    let mut bench = open(args, preset, &task.request)?;
    bench::measure(&mut bench, &task, started, &mut Teller::default()).map_err(failed)
}

fn swept(
    args: &BenchArgs,
    presets: &[&Preset],
    host: Computer,
    mut files: RecordFiles,
) -> anyhow::Result<()> {
    let preset = presets.first().copied();
    let task = SweepTask {
        model: place(args, preset).unwrap_or(builtin::NAME).into(),
        request: request(args, preset),
        sides: args.sizes.clone(),
        batches: args.batches.clone(),
        most: args.most,
        repeats: args.repeats as usize,
    };
    let mut bench = open(args, preset, &task.smallest())?;
    let sweep = bench::sweep(&mut bench, &task, &mut Teller::default()).map_err(failed)?;
    let device = bench.device();
    if let Some(file) = &mut files.plot {
        file.write(bench::plot(&sweep, &bench::device(&device)).as_bytes())?;
    }
    let said = bench::render_sweep(&sweep, args.markdown);
    files.write_json(&Record { sweep: Some(sweep), ..record(device, Vec::new(), host) })?;
    if !files.silent { text::result(&said) } else { Ok(()) }
}

/// What was asked for, or what suits the device; none where the flags alone say what to do.
fn presets(args: &BenchArgs) -> Vec<&'static Preset> {
    if !args.presets.is_empty() || args.model.is_some() {
        return args.presets.clone();
    }
    let gpu = args.device.backend != BackendName::Cpu && {
        let found = pollster::block_on(calotype::adapters(Backend::Auto));
        let wanted = |a: &AdapterReport| match &args.device.adapter {
            Some(name) => {
                a.index.to_string() == *name || a.name.to_lowercase().contains(&name.to_lowercase())
            }
            None => true,
        };
        found.iter().any(|a| a.kind != "cpu" && wanted(a))
    };
    let names = match (gpu, args.sweep || args.trace.is_some()) {
        (false, _) => {
            text::note(
                "there is no GPU here: the built-in model alone is measured; name presets to run them anyway",
            );
            &QUICK[..]
        }
        (true, true) => &FIXED[..1],
        (true, false) => &FIXED[..],
    };
    names.iter().filter_map(|name| Preset::find(name)).collect()
}

/// Each preset in a process of its own, so that each starts cold, and none meets what another left in memory.
fn apart(presets: &[&Preset]) -> anyhow::Result<(DeviceInfo, Vec<RunRecord>)> {
    // As it was called, where that is a path: a loader that runs it would be found in its place.
    let called = std::env::args_os().next().map(PathBuf::from);
    let called = called.filter(|path| path.components().count() > 1 && path.is_file());
    let program =
        called.map_or_else(std::env::current_exe, Ok).context("this program does not find itself")?;
    let (mut device, mut runs) = (None, Vec::new());
    for preset in presets {
        interrupt::check()?;
        let flags =
            std::env::args_os().skip(1).filter(|a| a.to_str().is_none_or(|a| Preset::find(a).is_none()));
        let output = Command::new(&program)
            .args(flags)
            .args(["--child", preset.name])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("{} could not be started", preset.name))?;
        if interrupt::asked() || output.status.code() == Some(130) {
            return Err(Interrupted.into());
        }
        if !output.status.success() {
            bail!("{} failed ({}); what it said stands above", preset.name, output.status);
        }
        let record: Record = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{}: its process wrote no record", preset.name))?;
        device.get_or_insert(record.device);
        runs.extend(record.runs);
    }
    Ok((device.context("no preset was named")?, runs))
}

fn record(device: DeviceInfo, runs: Vec<RunRecord>, host: Computer) -> Record {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let program = ProgramInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("CALOTYPE_COMMIT").filter(|c| !c.is_empty()).map(String::from),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
    };
    Record { schema: SCHEMA.into(), time, program, host, device, runs, sweep: None }
}

fn host() -> Computer {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let named = |line: &str| {
        line.strip_prefix("model name").and_then(|l| l.split_once(": ")).map(|l| l.1.to_string())
    };
    Computer {
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: cpuinfo.lines().find_map(named),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        load: read("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()),
    }
}

/// The files that were asked for: seen to be writable before anything is measured.
struct RecordFiles {
    json: Option<Series>,
    trace: Option<Series>,
    plot: Option<Series>,
    /// Whether stdout is for the record alone.
    silent: bool,
}

impl RecordFiles {
    fn new(args: &BenchArgs) -> anyhow::Result<Self> {
        let series = |path: Option<&PathBuf>, flag| {
            path.map(|path| Series::new(path, 1, args.overwrite, flag)).transpose()
        };
        let silent = args.json.as_deref().is_some_and(is_stdout);
        if args.presets.len() > 1 && (args.trace.is_some() || args.sweep) {
            return Err(Usage("--trace and --sweep take one preset at a time: name only one".into()).into());
        }
        let json = series(args.json.as_ref().filter(|_| !silent), "--json")?;
        let trace = series(args.trace.as_ref(), "--trace")?;
        let plot = series(args.plot.as_ref(), "--plot")?;
        let outputs: Vec<&Series> = [&json, &trace, &plot].into_iter().flatten().collect();
        let model = args.model.as_ref().map(|name| ("--model", Path::new(name)));
        output::apart(&outputs, model.as_slice())?;
        Ok(Self { json, trace, plot, silent })
    }

    fn write_json(&mut self, record: &Record) -> anyhow::Result<()> {
        if self.silent {
            return text::json(record);
        }
        if let Some(file) = &mut self.json {
            file.write(serde_json::to_string_pretty(record)?.as_bytes())?;
        }
        Ok(())
    }
}
