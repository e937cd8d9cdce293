//! What a step costs the host: the time to encode and hand over as many launches as a UNet step of Stable Diffusion 1.5
//! has, each so small that the device has next to nothing to do.
//! `cargo run --release -p calotype-gpu --example encode [launches]`.

use calotype_gpu::{Choice, GpuExecutor};
use calotype_graph::ops::{Activate, Activation, Add};
use calotype_graph::{Elem, Executor, Graph, Ports, Precision, ProgramSpec, Rate};
use std::time::Instant;

fn main() {
    let launches = std::env::args().nth(1).map_or(300, |n| n.parse().expect("a number of launches"));
    let gpu = pollster::block_on(GpuExecutor::new(&Choice::default())).expect("a GPU, if only in software");
    let mut graph = Graph::new("encode");
    let first = graph.input("x", [1, 64], Elem::Float, Rate::Step);
    let mut x = first;
    for i in 0..launches {
        // Two kernels in turn, so that every launch changes the pipeline too.
        let name = format!("node{i}");
        x = match i % 2 {
            0 => graph.push(&name, Activate { x, activation: Activation::Relu }).expect("any shape"),
            _ => graph.push(&name, Add { a: x, b: first }).expect("shapes agree"),
        };
    }
    graph.output("y", x);
    let mut ports = Ports::new();
    for name in ["x", "y"] {
        let port = gpu.port(name, [1, 64].into(), Precision::F32.dtype()).expect("a few bytes");
        ports.insert(name.into(), port);
    }
    let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F32 };
    let program = gpu.prepare(&[spec]).expect("kernels that every device runs").remove(0);
    let mut seconds: Vec<f64> = (0..50)
        .map(|_| {
            let start = Instant::now();
            gpu.run(&program, 0).expect("a run");
            let took = start.elapsed().as_secs_f64();
            pollster::block_on(gpu.wait()).expect("its end");
            took
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!(
        "{launches} launches on {}: {:.3} ms at best, {:.3} ms in the middle of {}",
        gpu.describe(),
        seconds[0] * 1e3,
        seconds[seconds.len() / 2] * 1e3,
        seconds.len()
    );
}
