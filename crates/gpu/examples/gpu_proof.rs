//! What must be known of a GPU before anything else, tier by tier of kernels:
//! `cargo run --release -p calotype-gpu --example gpu_proof [SIDE [RUNS [SHRINK]]]`.
//!
//! 1. a product of SIDE³ (4096): numbers against double-precision sums on the host, the same bits RUNS times (1000),
//!    TFLOP/s
//! 2. a chain of 300 small launches, each of which needs the one before: µs a launch, on the GPU and on the host
//! 3. convolutions, linear layers and attention of Stable Diffusion 1.5 at 512x512 with guidance: ms, TFLOP/s; SHRINK divides
//!    their sides and rows, for trying this out in software
//!
//! Takes the best GPU; without one it says so and ends with status 3.

use calotype_gpu::{Choice, Error, GpuExecutor, Tier, Tuning};
use calotype_graph::ops::{Attention, Conv2d, Matmul, Padding, Scale};
use calotype_graph::{Elem, Executor, Graph, Layout, Ports, Precision, Program, ProgramSpec, Rate, ValueId};
use calotype_tensor::{DType, HostTensor, Made, Shape};
use std::time::Instant;

const F16: Precision = Precision::F16;

/// Tensors of numbers in ±1/8, a function of the index and the seed.
fn number(seed: u64, i: u64) -> f32 {
    let mut z = (i ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((z >> 40) & 0xff) as f32 / 1024.0 - 0.125
}

fn tensor(seed: u64, shape: Shape) -> HostTensor {
    let values: Vec<f32> = (0..shape.numel() as u64).map(|i| number(seed, i)).collect();
    HostTensor::from_f32(shape, &values).cast(DType::F16)
}

const X: u64 = 1;
const W: u64 = 2;

/// A graph on a device, ready to run.
struct Ready<'a> {
    gpu: &'a GpuExecutor,
    program: Program,
    ports: Ports,
    flops: u64,
    checkpoint: u64,
}

impl<'a> Ready<'a> {
    fn new(gpu: &'a GpuExecutor, build: impl FnOnce(&mut Graph) -> ValueId) -> Self {
        let mut graph = Graph::new("proof");
        graph.checkpoint = 1;
        let y = build(&mut graph);
        graph.output("y", y);
        let source = Made::new("made up", graph.declared(DType::F16), |_, shape| tensor(W, shape));
        graph.resolve(&source, F16).expect("sizes are whole vectors");
        pollster::block_on(gpu.load(&graph, &source, &mut |_| ())).expect("memory");
        let mut ports = Ports::new();
        for (name, v) in graph.inputs().chain([("y", y)]) {
            let shape = graph.value(v).shape;
            let port = gpu.port(name, shape, DType::F16).expect("memory");
            if name != "y" {
                gpu.write(&port, 0, tensor(X, shape).bytes()).expect("a device");
            }
            ports.insert(name.into(), port);
        }
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision: F16 };
        let program = gpu.prepare(&[spec]).expect("a device").remove(0);
        Self { gpu, program, ports, flops: graph.flops(), checkpoint: graph.checkpoint }
    }

    fn read(&self) -> HostTensor {
        pollster::block_on(self.gpu.read(&self.ports["y"])).expect("a device")
    }

    /// Seconds a run, the best of several bursts; and of those, what the host took to hand it over.
    fn time(&self) -> (f64, f64) {
        let wait = || pollster::block_on(self.gpu.wait()).expect("a device");
        let burst = |runs: u32| {
            let start = Instant::now();
            for _ in 0..runs {
                self.gpu.run(&self.program, 0).expect("a device");
            }
            let host = start.elapsed().as_secs_f64();
            wait();
            (start.elapsed().as_secs_f64() / f64::from(runs), host / f64::from(runs))
        };
        let (first, _) = burst(1);
        // Bursts of about a fifth of a second.
        let runs = (0.2 / first).clamp(1.0, 200.0) as u32;
        (0..3).map(|_| burst(runs)).min_by(|a, b| a.0.total_cmp(&b.0)).expect("three")
    }

    fn report(&self, name: &str) {
        let (seconds, _) = self.time();
        println!(
            "  {name:<34} {:>9.3} ms {:>8.2} TFLOP/s",
            seconds * 1e3,
            self.flops as f64 / seconds * 1e-12
        );
    }
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        self.gpu.unload(self.checkpoint, "");
    }
}

fn product(gpu: &GpuExecutor, [m, k, n]: [usize; 3]) -> Ready<'_> {
    Ready::new(gpu, |g| {
        let x = g.input("x", [1, m, k], Elem::Float, Rate::Step);
        let w = g.weight(&["w"], [n, k], Layout::Matrix, [k, n]);
        g.push("y", Matmul::new(x, w, None)).expect("shapes fit")
    })
}

/// The largest difference from the host's sums at some places, of the largest sum there.
fn apart(found: &[f32], [m, k, n]: [usize; 3]) -> f64 {
    let places = (0..512).map(|i| (i * 2_654_435_761 % m, i * 40_503 % n));
    let (mut most, mut largest) = (0.0f64, 0.0f64);
    for (row, column) in places {
        let at = |i: usize| {
            f64::from(number(X, (row * k + i) as u64)) * f64::from(number(W, (column * k + i) as u64))
        };
        let sum: f64 = (0..k).map(at).sum();
        most = most.max((f64::from(found[row * n + column]) - sum).abs());
        largest = largest.max(sum.abs());
    }
    most / largest
}

fn gemm(gpu: &GpuExecutor, side: usize, runs: usize) {
    let size = [side; 3];
    let ready = product(gpu, size);
    gpu.run(&ready.program, 0).expect("a device");
    let first = ready.read();
    println!(
        "  product of {side}³: off by {:.1e} of the largest (f16 stores 4.9e-4)",
        apart(&first.to_f32(), size)
    );
    ready.report(&format!("linear {side}, {side} to {side}"));
    // Every tenth result is looked at.
    let differ = (0..runs / 10).filter(|_| {
        (0..10).for_each(|_| gpu.run(&ready.program, 0).expect("a device"));
        ready.read().bytes() != first.bytes()
    });
    println!("  of {} results after {runs} runs {} differ from the first", runs / 10, differ.count());
}

fn chain(gpu: &GpuExecutor) {
    const LENGTH: usize = 300;
    let ready = Ready::new(gpu, |g| {
        let x = g.input("x", [1, 16, 64], Elem::Float, Rate::Step);
        (0..LENGTH)
            .fold(x, |x, i| g.push(&format!("{i}"), Scale { x, scale: 1.0, shift: 0.0 }).expect("shapes fit"))
    });
    let (seconds, host) = ready.time();
    let [all, host] = [seconds, host].map(|s| s * 1e6 / LENGTH as f64);
    println!("  chain of {LENGTH} launches: {all:.2} µs a launch, of which the host {host:.2}");
}

fn shapes(gpu: &GpuExecutor, shrink: usize) {
    for (size, c, n) in [(64, 320, 320), (32, 640, 640), (16, 1280, 1280), (8, 1280, 1280), (16, 2560, 1280)]
    {
        let size = size / shrink.min(size);
        let ready = Ready::new(gpu, |g| {
            let x = g.input("x", [2, size, size, c], Elem::Float, Rate::Step);
            let layout = Layout::Conv { kernel: [3, 3], channels: c };
            let weight = g.weight(&["w"], [n, c, 3, 3], layout, [9 * c, n]);
            let op = Conv2d { padding: Padding::all(1), ..Conv2d::new(x, weight, [3, 3]) };
            g.push("y", op).expect("shapes fit")
        });
        ready.report(&format!("conv 3x3, 2x{size}x{size}, {c} to {n}"));
    }
    for [m, k, n] in
        [[8192, 320, 320], [8192, 320, 2560], [2048, 640, 5120], [512, 1280, 10240], [128, 1280, 1280]]
    {
        let m = m / shrink;
        product(gpu, [m, k, n]).report(&format!("linear {m}, {k} to {n}"));
    }
    for (rows, keys, head) in [(4096, 4096, 40), (1024, 1024, 80), (256, 256, 160), (4096, 77, 40)] {
        let (rows, keys) = (rows / shrink, keys / shrink);
        let ready = Ready::new(gpu, |g| {
            let mut input = |name: &str, rows| g.input(name, [2, rows, 8 * head], Elem::Float, Rate::Step);
            let (q, k, v) = (input("q", rows), input("k", keys), input("v", keys));
            let scale = 1.0 / (head as f32).sqrt();
            g.push("y", Attention { q, k, v, heads: 8, scale, causal: false }).expect("shapes fit")
        });
        ready.report(&format!("attention {rows} to {keys}, 2x8 heads of {head}"));
    }
}

fn main() {
    let mut numbers =
        std::env::args().skip(1).map(|a| a.parse::<usize>().expect("SIDE, RUNS and SHRINK are numbers"));
    let (side, runs) = (numbers.next().unwrap_or(4096), numbers.next().unwrap_or(1000));
    let shrink = numbers.next().unwrap_or(1).max(1);
    for tier in Tier::ALL {
        let choice = Choice { tier: Some(tier), tuning: Tuning::Off, ..Choice::default() };
        let gpu = match pollster::block_on(GpuExecutor::new(&choice)) {
            Ok(gpu) => gpu,
            Err(e @ Error::NoAdapter { .. }) => {
                eprintln!("{e}");
                std::process::exit(3);
            }
            Err(e) => {
                println!("tier {tier}: {e}");
                continue;
            }
        };
        let held: Vec<String> =
            gpu.report().tiers.iter().map(|t| format!("{}: {}", t.tier, t.note)).collect();
        println!("tier {tier} on {} [{}]", gpu.describe(), held.join("; "));
        if tier == Tier::Subgroups {
            // Products are those of f16.
            continue;
        }
        gemm(&gpu, side, if tier == Tier::Coop { runs } else { 10 });
        chain(&gpu);
        shapes(&gpu, shrink);
    }
}
