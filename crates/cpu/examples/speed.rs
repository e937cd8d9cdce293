//! GFLOP/s of products, convolutions and attention at Stable Diffusion 1.5's shapes, next to what this processor
//! does at best: fused multiply-adds that never leave its registers.
//!
//! `cargo run --release -p calotype-cpu --example speed [PART OF A NAME]`

use calotype_cpu::CpuExecutor;
use calotype_graph::ops::{Attention, Conv2d, Geglu, GroupNorm, LayerNorm, Matmul, Padding};
use calotype_graph::{Activation, Executor, Ports, Precision, ProgramSpec};
use calotype_tensor::{DType, HostTensor, Made, Shape};
use calotype_testkit::{Builder, Case, Tolerance};
use std::time::Instant;

/// The best of this many runs counts.
const RUNS: usize = 5;

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let cpu = CpuExecutor::new();
    let peak = peak_gflops();
    println!("{}: {peak:.0} GFLOP/s at best", cpu.describe());
    for case in cases().into_iter().filter(|c| c.name.contains(&part)) {
        let seconds = seconds(&cpu, &case);
        let rate = case.flops() as f64 / seconds / 1e9;
        println!(
            "{:34} {:8.2} ms {rate:7.1} GFLOP/s {:4.0} %",
            case.name,
            1e3 * seconds,
            100.0 * rate / peak
        );
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, k, n) in [
        (4096, 320, 320),
        (4096, 320, 2560),
        (4096, 1280, 320),
        (1024, 640, 640),
        (1024, 640, 5120),
        (256, 1280, 1280),
        (256, 1280, 10_240),
        (64, 1280, 1280),
        (16, 1280, 1280),
        (16, 5120, 1280),
        (77, 768, 320),
    ] {
        all.push(case(&format!("matmul {m}x{k}x{n}"), |b| {
            let (x, weight) = (b.x("x", [1, m, k]), b.matrix("weight", k, n));
            b.op(Matmul::new(x, weight, None));
        }));
    }
    for (side, channels, out) in [
        (64, 4, 320),
        (64, 320, 320),
        (64, 960, 320),
        (32, 640, 640),
        (32, 1280, 640),
        (16, 1280, 1280),
        (16, 2560, 1280),
        (8, 1280, 1280),
        (4, 2560, 1280),
        (64, 512, 512),
        (128, 256, 256),
        (256, 128, 128),
        (64, 320, 4),
    ] {
        all.push(case(&format!("conv2d {side}x{side} {channels} to {out}"), |b| {
            let (x, weight) =
                (b.x("x", [1, side, side, channels]), b.kernel("weight", out, channels, [3, 3]));
            b.op(Conv2d { padding: Padding::all(1), ..Conv2d::new(x, weight, [3, 3]) });
        }));
    }
    for (queries, keys, heads, head) in [
        (4096, 4096, 8, 40),
        (1024, 1024, 8, 40),
        (1024, 1024, 8, 80),
        (256, 256, 8, 160),
        (4096, 77, 8, 40),
        (1024, 77, 8, 80),
        (4096, 4096, 1, 512),
    ] {
        all.push(case(&format!("attention {queries}x{keys}, {heads} of {head}"), |b| {
            let [q, k, v] =
                [("q", queries), ("k", keys), ("v", keys)].map(|(n, rows)| b.x(n, [1, rows, heads * head]));
            b.op(Attention { q, k, v, heads, scale: 1.0 / (head as f32).sqrt(), causal: false });
        }));
    }
    all.push(case("group_norm 64x64 320", |b| {
        let x = b.x("x", [1, 64, 64, 320]);
        let (gamma, beta) = (b.vector("gamma", 320, 1.0), b.vector("beta", 320, 0.0));
        b.op(GroupNorm { x, beside: None, gamma, beta, groups: 32, eps: 1e-5, activation: Activation::Silu });
    }));
    all.push(case("layer_norm 4096x320", |b| {
        let x = b.x("x", [1, 4096, 320]);
        let (gamma, beta) = (b.vector("gamma", 320, 1.0), b.vector("beta", 320, 0.0));
        b.op(LayerNorm { x, gamma, beta, eps: 1e-5 });
    }));
    all.push(case("geglu 4096x1280", |b| {
        let x = b.x("x", [1, 4096, 2560]);
        b.op(Geglu { x, activation: Activation::Gelu });
    }));
    all
}

fn case(name: &str, build: impl FnOnce(&mut Builder)) -> Case {
    Case::new(name, Tolerance::SUM, build)
}

/// The time of the fastest run. Weights are ones: what they hold does not matter to the clock.
fn seconds(cpu: &CpuExecutor, case: &Case) -> f64 {
    let run = async {
        let mut graph = case.graph.clone();
        let ones = |_: &str, shape: Shape| HostTensor::from_f32(shape, &vec![1.0; shape.numel()]);
        let source = Made::new(&case.name, graph.declared(DType::F32), ones);
        graph.resolve(&source, Precision::F32)?;
        let mut ports = Ports::new();
        for (name, v) in graph.inputs() {
            let port = cpu.port(name, graph.value(v).shape, DType::F32)?;
            cpu.write(&port, 0, calotype_testkit::tensor_of(case, name).bytes())?;
            ports.insert(name.to_string(), port);
        }
        for (name, v) in graph.outputs() {
            ports.insert(name.clone(), cpu.port(name, graph.value(*v).shape, DType::F32)?);
        }
        cpu.load(&graph, &source, &mut |_| {}).await?;
        let programs =
            cpu.prepare(&[ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F32 }])?;
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            let start = Instant::now();
            cpu.run(&programs[0], 0)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok::<f64, calotype_graph::Error>(best)
    };
    pollster::block_on(run).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// All threads' fused multiply-adds a second, on sixteen independent vectors each.
fn peak_gflops() -> f64 {
    const ROUNDS: usize = 20_000_000;
    let threads = rayon::current_num_threads();
    let mut best = 0f64;
    for _ in 0..3 {
        let start = Instant::now();
        let flops: f64 = rayon::broadcast(|_| chain(ROUNDS)).into_iter().sum();
        best = best.max(flops / start.elapsed().as_secs_f64() / 1e9);
    }
    if best == 0.0 { threads as f64 } else { best }
}

#[cfg(target_arch = "x86_64")]
fn chain(rounds: usize) -> f64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    #[target_feature(enable = "avx2,fma")]
    fn run(rounds: usize) -> f64 {
        let (a, b) = (_mm256_set1_ps(0.5), _mm256_set1_ps(0.25));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        std::hint::black_box(sums);
        (rounds * 12 * 8 * 2) as f64
    }
    if !std::is_x86_feature_detected!("fma") || !std::is_x86_feature_detected!("avx2") {
        return plain_chain(rounds / 8);
    }
    // SAFETY: both features were just found.
    unsafe { run(rounds) }
}

#[cfg(not(target_arch = "x86_64"))]
fn chain(rounds: usize) -> f64 {
    plain_chain(rounds / 8)
}

/// Vectors of whatever width the compiler gives.
fn plain_chain(rounds: usize) -> f64 {
    let mut sums = [[1f32; 8]; 12];
    for _ in 0..rounds {
        sums.iter_mut().flatten().for_each(|s| *s = *s * 0.5 + 0.25);
    }
    std::hint::black_box(sums);
    (rounds * 12 * 8 * 2) as f64
}
