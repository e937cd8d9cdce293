//! GFLOP/s of the heavy ops at Stable Diffusion 1.5's shapes on the first GPU, with weights in f16 and in blocks, and how much
//! longer than in f16 those take:
//! `cargo run --release -p calotype-gpu --example op_speed [f16]`.

use calotype_gpu::{Choice, GpuExecutor};
use calotype_graph::ops::{Attention, Conv2d, Matmul, Padding};
use calotype_graph::{Elem, Executor, Graph, Layout, Ports, Precision, ProgramSpec, Quant, Rate, ValueId};
use calotype_tensor::{DType, HostTensor, Made, Shape};
use std::time::Instant;

/// Rounds in which each way to store weights has its turn, so that all find the same machine.
const ROUNDS: usize = 5;

fn time(gpu: &GpuExecutor, name: &str, precision: Precision, build: impl Fn(&mut Graph) -> ValueId) {
    let mut programs = Vec::new();
    for quant in [Quant::Off, Quant::Q8_0, Quant::Q4_0] {
        let mut graph = Graph::new(name);
        let y = build(&mut graph);
        graph.output("y", y);
        // All alike: speed does not depend on them.
        let alike =
            |_: &str, shape: Shape| HostTensor::from_bytes(shape, DType::F16, vec![0x11; shape.numel() * 2]);
        let source = Made::new("made up", graph.declared(DType::F16), alike);
        graph.resolve(&source, precision).unwrap();
        graph.quantize(&source, quant, &|_| true).unwrap();
        if quant != Quant::Off && !graph.weights().iter().any(|weight| weight.is_blocks()) {
            continue;
        }
        pollster::block_on(gpu.load(&graph, &source, &mut |_| ())).unwrap();
        let mut ports = Ports::new();
        for (name, v) in graph.inputs().chain([("y", y)]) {
            ports.insert(name.into(), gpu.port(name, graph.value(v).shape, precision.dtype()).unwrap());
        }
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision };
        let program = gpu.prepare(&[spec]).unwrap().remove(0);
        programs.push((quant, graph, program, f64::INFINITY));
    }
    for _ in 0..ROUNDS {
        for (.., program, best) in &mut programs {
            let start = Instant::now();
            gpu.run(program, 0).unwrap();
            pollster::block_on(gpu.wait()).unwrap();
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let whole = programs[0].3;
    for (quant, graph, _, best) in programs {
        let label = if quant == Quant::Off { name.to_string() } else { format!("{name} {quant:?}") };
        let rate = graph.flops() as f64 / best * 1e-9;
        println!("{label:<39} {:>9.2} ms {rate:>9.1} GFLOP/s {:>6.2}", best * 1e3, best / whole);
    }
}

fn main() {
    let precision = if std::env::args().any(|a| a == "f16") { Precision::F16 } else { Precision::F32 };
    let gpu = pollster::block_on(GpuExecutor::new(&Choice::default())).unwrap();
    println!("{}", gpu.describe());
    for (m, k, n) in
        [(1024, 320, 320), (1024, 320, 2560), (256, 640, 5120), (256, 2560, 640), (64, 1280, 1280)]
    {
        let name = format!("matmul {m}x{k}x{n}");
        time(&gpu, &name, precision, |g| {
            let x = g.input("x", [1, m, k], Elem::Float, Rate::Step);
            let w = g.weight(&["w"], [n, k], Layout::Matrix, [k, n]);
            g.push("y", Matmul::new(x, w, None)).unwrap()
        });
    }
    for (size, c, n) in [(32, 320, 320), (16, 640, 640), (16, 1920, 640), (8, 1280, 1280)] {
        let name = format!("conv2d 3x3 {size}x{size} {c}->{n}");
        time(&gpu, &name, precision, |g| {
            let x = g.input("x", [1, size, size, c], Elem::Float, Rate::Step);
            let layout = Layout::Conv { kernel: [3, 3], channels: c };
            let weight = g.weight(&["w"], [n, c, 3, 3], layout, [9 * c, n]);
            let conv = Conv2d { padding: Padding::all(1), ..Conv2d::new(x, weight, [3, 3]) };
            g.push("y", conv).unwrap()
        });
    }
    for (rows, keys, c) in [(1024, 1024, 320), (256, 256, 640), (64, 64, 1280), (1024, 77, 320)] {
        let name = format!("attention {rows}x{keys} 8x{}", c / 8);
        time(&gpu, &name, precision, |g| {
            let q = g.input("q", [1, rows, c], Elem::Float, Rate::Step);
            let k = g.input("k", [1, keys, c], Elem::Float, Rate::Step);
            let v = g.input("v", [1, keys, c], Elem::Float, Rate::Step);
            g.push("y", Attention { q, k, v, heads: 8, scale: 0.1, causal: false }).unwrap()
        });
    }
}
