//! One stage at a time on a full-size model, against the tensors that diffusers computes.

use anyhow::{Context, Result, bail, ensure};
use calotype::noise::{nchw_to_nhwc, nhwc_to_nchw};
use calotype::{Backend, Choice, DType, Device, HostTensor, Model, OpenDevice, Role};
use calotype_graph::ops::StepRow;
use calotype_graph::passes::fuse;
use calotype_graph::{Graph, Ports, Precision, Program, ProgramSpec, Span};
use calotype_models::{unet, vae};
use calotype_tensor::Tensors;
use pollster::block_on;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What a full-size stage may differ by, of the largest magnitude: f32 sums of up to 23,040 terms in another order,
/// through some 250 layers. diffusers' own f32 differs from its f64 by 8e-7 on the UNet.
const BOUND: f32 = 2e-3;

/// Checks the UNet on 2x4x64x64 and 1x4x32x32 latents and the VAE on 4x64x64.
pub fn check(model: &str, goldens: &str, backend: &str) -> Result<()> {
    let model = Model::open(model, None)?;
    for (name, file) in
        [("unet 1x4x32x32", "unet_1x32"), ("unet 2x4x64x64", "unet_2x64"), ("vae 4x64x64", "vae_64")]
    {
        // A device of its own for each, so that each peak is that stage's.
        let device = open(backend)?;
        let golden = std::fs::read(Path::new(goldens).join(format!("{file}.safetensors")))
            .with_context(|| format!("{goldens}/{file}.safetensors"))?;
        let golden = SafeTensors::deserialize(&golden)?;
        let start = Instant::now();
        let stage = Stage::prepare(&device, &model, file, &golden)?;
        let loaded = start.elapsed();
        let start = Instant::now();
        let output = stage.run(&device)?;
        let ran = start.elapsed();
        let expected = tensor(&golden, "output")?;
        let error = relative(&output, &expected.to_f32());
        println!(
            "{name}: max error {error:.1e} of the largest, loaded in {:.1} s, ran in {:.1} s, peak {:.0} MiB on {}",
            loaded.as_secs_f64(),
            ran.as_secs_f64(),
            device.executor.memory().peak as f64 / (1 << 20) as f64,
            device.executor.describe()
        );
        ensure!(error <= BOUND, "{name}: {error:.1e} is more than {BOUND:.0e}");
    }
    Ok(())
}

/// Times the UNet on 1x4x32x32 latents: one line of JSON, as `scripts/peers.py` prints for peers.
pub fn speed(model: &str, goldens: &str, backend: &str, runs: usize) -> Result<()> {
    let model = Model::open(model, None)?;
    let device = open(backend)?;
    let golden = std::fs::read(Path::new(goldens).join("unet_1x32.safetensors"))?;
    let golden = SafeTensors::deserialize(&golden)?;
    let stage = Stage::prepare(&device, &model, "unet_1x32", &golden)?;
    let start = Instant::now();
    let output = stage.run(&device)?;
    let first = start.elapsed().as_secs_f64();
    let error = relative(&output, &tensor(&golden, "output")?.to_f32());
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            stage.run(&device).map(|_| start.elapsed().as_secs_f64())
        })
        .collect::<Result<_>>()?;
    seconds.sort_by(f64::total_cmp);
    let (median, least) = (seconds[runs / 2], seconds[0]);
    println!(
        "{{\"peer\": \"calotype\", \"device\": \"{}\", \"median_s\": {median:.3}, \"min_s\": {least:.3}, \
         \"first_s\": {first:.3}, \"max_error\": {error:.1e}, \"gflops\": {:.1}}}",
        device.executor.describe(),
        stage.flops as f64 / median * 1e-9
    );
    Ok(())
}

/// Where the UNet's time goes on 1x4x32x32 latents: a table of kernels by time, each launch timed by itself, the least of
/// `runs` for each.
pub fn ops(model: &str, goldens: &str, backend: &str, runs: usize) -> Result<()> {
    let model = Model::open(model, None)?;
    let device = open(backend)?;
    let golden = std::fs::read(Path::new(goldens).join("unet_1x32.safetensors"))?;
    let golden = SafeTensors::deserialize(&golden)?;
    let stage = Stage::prepare(&device, &model, "unet_1x32", &golden)?;
    let mut least: Vec<Span> = Vec::new();
    for _ in 0..runs.max(1) + 1 {
        let spans = block_on(device.executor.profile(&stage.program, 0))?.spans;
        for (at, span) in spans.into_iter().enumerate() {
            match least.get_mut(at) {
                Some(known) => known.seconds = known.seconds.min(span.seconds),
                None => least.push(span),
            }
        }
    }
    // Launches, seconds and work of each kernel; an op of several launches has its work counted with its first.
    let mut kernels: BTreeMap<&str, (usize, f64, u64)> = BTreeMap::new();
    let mut last = None;
    for span in &least {
        let name = span.kernel.split('[').next().unwrap_or_default();
        let (launches, seconds, flops) = kernels.entry(name).or_default();
        *launches += 1;
        *seconds += span.seconds;
        *flops += if last == Some(span.node) { 0 } else { stage.work[span.node] };
        last = Some(span.node);
    }
    let mut rows: Vec<_> = kernels.into_iter().collect();
    rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    println!("| kernel | launches | seconds | GFLOP | GFLOP/s |\n|---|---|---|---|---|");
    for (name, (launches, seconds, flops)) in rows {
        let work = flops as f64 * 1e-9;
        println!("| {name} | {launches} | {seconds:.3} | {work:.1} | {:.1} |", work / seconds);
    }
    let total: f64 = least.iter().map(|s| s.seconds).sum();
    println!(
        "| all | {} | {total:.3} | {:.1} | {:.1} |",
        least.len(),
        stage.flops as f64 * 1e-9,
        stage.flops as f64 * 1e-9 / total
    );
    Ok(())
}

fn open(backend: &str) -> Result<OpenDevice> {
    let device = match backend {
        "auto" => Device::Auto,
        "cpu" => Device::Cpu,
        "vulkan" => Device::Gpu(Choice { backend: Backend::Vulkan, ..Choice::default() }),
        other => bail!("no backend {other}: auto, vulkan or cpu"),
    };
    Ok(device.open()?)
}

/// A graph with its inputs in place.
struct Stage {
    ports: Ports,
    program: Program,
    output: &'static str,
    /// Channels, height and width of the golden output.
    shape: [usize; 3],
    flops: u64,
    /// Floating-point operations of each node.
    work: Vec<u64>,
}

impl Stage {
    fn prepare(device: &OpenDevice, model: &Model, file: &str, golden: &SafeTensors<'_>) -> Result<Self> {
        let (exec, config) = (&device.executor, &model.config);
        let image = |name: &str| -> Result<([usize; 4], Vec<f32>)> {
            let t = tensor(golden, name)?;
            let dims: [usize; 4] = t.shape().dims().try_into().context("a picture has four axes")?;
            Ok((dims, nchw_to_nhwc(&t.to_f32(), [dims[1], dims[2], dims[3]])))
        };
        let mut inputs: Vec<(&str, Vec<u8>)> = Vec::new();
        let weights = |role| model.components.weights(role).expect("a model has every component");
        let (mut graph, source, output): (Graph, &dyn Tensors, &'static str) = if file.starts_with("unet") {
            let ([batch, _, h, w], sample) = image("sample")?;
            let states = tensor(golden, "encoder_hidden_states")?;
            let mut row: StepRow =
                StepRow { timestep: tensor(golden, "timestep")?.to_f32()[0], ..zeroed_row() };
            row.input_scale = 1.0;
            inputs.push(("latents", bytes(&sample)));
            inputs.push(("states", bytes(&states.to_f32())));
            inputs.push(("table", row.words().iter().flat_map(|w| w.to_le_bytes()).collect()));
            let tokens = states.shape().dims()[1];
            (unet::unet(&config.unet, batch, h, w, tokens, 1)?, weights(Role::Denoiser), "output")
        } else {
            let ([_, _, h, w], latents) = image("latents")?;
            inputs.push(("latents", bytes(&latents)));
            (vae::decoder(&config.vae, h, w)?, weights(Role::Vae), "image")
        };
        graph = fuse(graph);
        graph.resolve(source, Precision::F32)?;
        block_on(exec.load(&graph, source, &mut |_| ()))?;
        let mut ports = Ports::new();
        let values = graph.inputs().map(|(n, v)| (n.to_string(), v)).chain(graph.outputs().iter().cloned());
        for (name, value) in values {
            let dtype = if name == "table" { DType::U32 } else { DType::F32 };
            let port = exec.port(&name, graph.value(value).shape, dtype)?;
            if let Some((_, data)) = inputs.iter().find(|(n, _)| *n == name) {
                exec.write(&port, 0, data)?;
            }
            ports.insert(name, port);
        }
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F32 };
        let program = exec.prepare(&[spec])?.remove(0);
        let golden = tensor(golden, "output")?;
        let shape = golden.shape().dims()[1..].try_into().context("a picture has four axes")?;
        let work = graph.nodes().iter().map(|n| n.op.flops(&graph)).collect();
        Ok(Self { ports, program, output, shape, flops: graph.flops(), work })
    }

    /// The output in torch's order, without padding channels.
    fn run(&self, device: &OpenDevice) -> Result<Vec<f32>> {
        device.executor.run(&self.program, 0)?;
        let got = block_on(device.executor.read(&self.ports[self.output]))?;
        let (stored, [c, h, w]) = (got.shape().channels(), self.shape);
        let values: Vec<f32> = got.to_f32().chunks_exact(stored).flat_map(|p| p[..c].to_vec()).collect();
        Ok(nhwc_to_nchw(&values, [c, h, w]))
    }
}

fn zeroed_row() -> StepRow {
    StepRow { guidance: 1.0, input_scale: 1.0, ..StepRow::default() }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Result<HostTensor> {
    let t = file.tensor(name).with_context(|| format!("no tensor {name}"))?;
    ensure!(t.dtype() == safetensors::Dtype::F32, "{name} is {:?}, not f32", t.dtype());
    Ok(HostTensor::from_bytes(t.shape(), DType::F32, t.data().to_vec()))
}

/// max |a − b| of the largest |b|.
fn relative(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs())) / largest
}
