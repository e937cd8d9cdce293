//! Passes keep a graph's numbers, and do what they are for.

use calotype_cpu::CpuExecutor;
use calotype_graph::ops::{
    Activate, Add, Attention, Conv2d, GroupNorm, LayerNorm, Matmul, Padding, Upsample,
};
use calotype_graph::passes::{PASSES, fuse, split};
use calotype_graph::{Activation, Elem, Executor, Graph, Ports, Precision, ProgramSpec, Rate, ValueId};
use calotype_tensor::{DType, HostTensor};
use calotype_testkit::{Builder, Case, Fill, Tolerance, error, run_case, unfused_cases};

fn activate(b: &mut Builder, x: ValueId, activation: Activation) -> ValueId {
    b.push(Activate { x, activation })
}

fn conv(b: &mut Builder, name: &str, x: ValueId, channels: usize, out: usize) -> ValueId {
    let weight = b.kernel(&format!("{name}.weight"), out, channels, [3, 3]);
    let bias = Some(b.vector(&format!("{name}.bias"), out, 0.0));
    b.push(Conv2d { bias, padding: Padding::all(1), ..Conv2d::new(x, weight, [3, 3]) })
}

fn linear(b: &mut Builder, name: &str, x: ValueId, k: usize, n: usize) -> ValueId {
    let weight = b.matrix(&format!("{name}.weight"), k, n);
    let bias = Some(b.vector(&format!("{name}.bias"), n, 0.0));
    b.push(Matmul::new(x, weight, bias))
}

fn group_norm(b: &mut Builder, name: &str, x: ValueId, channels: usize) -> ValueId {
    let gamma = b.vector(&format!("{name}.weight"), channels, 1.0);
    let beta = b.vector(&format!("{name}.bias"), channels, 0.0);
    b.push(GroupNorm { x, beside: None, gamma, beta, groups: 4, eps: 1e-5, activation: Activation::None })
}

/// As diffusers' ResnetBlock2D: the time's projection is added between the two convolutions.
fn resnet(b: &mut Builder, name: &str, x: ValueId, time: ValueId, channels: usize) -> ValueId {
    let mut h = group_norm(b, &format!("{name}.norm1"), x, channels);
    h = activate(b, h, Activation::Silu);
    h = conv(b, &format!("{name}.conv1"), h, channels, channels);
    let time = activate(b, time, Activation::Silu);
    let time = linear(b, &format!("{name}.time"), time, 8, channels);
    h = b.push(Add { a: h, b: time });
    h = group_norm(b, &format!("{name}.norm2"), h, channels);
    h = activate(b, h, Activation::Silu);
    h = conv(b, &format!("{name}.conv2"), h, channels, channels);
    b.push(Add { a: x, b: h })
}

/// As diffusers' BasicTransformerBlock, one attention to a context.
fn transformer(b: &mut Builder, name: &str, x: ValueId, context: ValueId, channels: usize) -> ValueId {
    let gamma = b.vector(&format!("{name}.norm.weight"), channels, 1.0);
    let beta = b.vector(&format!("{name}.norm.bias"), channels, 0.0);
    let h = b.push(LayerNorm { x, gamma, beta, eps: 1e-5 });
    let q = linear(b, &format!("{name}.to_q"), h, channels, channels);
    let k = linear(b, &format!("{name}.to_k"), context, 12, channels);
    let v = linear(b, &format!("{name}.to_v"), context, 12, channels);
    let y = b.push(Attention { q, k, v, heads: 2, scale: 0.4, causal: false });
    let y = linear(b, &format!("{name}.to_out"), y, channels, channels);
    let x = b.push(Add { a: y, b: x });
    let h = linear(b, &format!("{name}.fc1"), x, channels, 2 * channels);
    let h = activate(b, h, Activation::QuickGelu);
    let h = linear(b, &format!("{name}.fc2"), h, 2 * channels, channels);
    b.push(Add { a: x, b: h })
}

fn output(b: &mut Builder, y: ValueId) {
    b.case.graph.output("y", y);
}

/// Runs a case as it is and fused; the fused one must have `fewer` nodes less and the same numbers. Sums may be
/// rounded in another order, no more.
fn assert_fuses(case: Case, fewer: usize) {
    let cpu = CpuExecutor::new();
    let plain = run_case(&cpu, &case, Precision::F32).unwrap();
    let fused = Case { graph: fuse(case.graph.clone()), ..case };
    let listing = fused.graph.listing();
    let lines = case.graph.listing().lines().count();
    assert_eq!(lines - listing.lines().count(), fewer, "{listing}");
    let found = run_case(&cpu, &fused, Precision::F32).unwrap();
    for (found, plain) in found.iter().zip(&plain) {
        let off = error(found, plain);
        assert!(off <= 1e-6, "{}: off by {off:.1e}\n{listing}", fused.name);
    }
}

fn case(name: &str, build: impl FnOnce(&mut Builder)) -> Case {
    Case::new(name, Tolerance::SUM, build)
}

#[test]
fn a_convolution_takes_in_activation_and_residual() {
    let plain = case("silu", |b| {
        let x = b.x("x", [2, 5, 7, 8]);
        let y = conv(b, "conv", x, 8, 8);
        let y = activate(b, y, Activation::Silu);
        let y = b.push(Add { a: x, b: y });
        output(b, y);
    });
    assert_fuses(plain, 2);
}

#[test]
fn a_value_that_is_needed_twice_stays() {
    let twice = case("twice", |b| {
        let x = b.x("x", [1, 5, 7, 8]);
        let h = conv(b, "conv", x, 8, 8);
        let y = activate(b, h, Activation::Silu);
        b.case.graph.output("h", h);
        output(b, y);
    });
    assert_fuses(twice, 0);
}

#[test]
fn a_residual_made_of_the_same_value_stays() {
    let double = case("double", |b| {
        let x = b.x("x", [1, 5, 7, 8]);
        let h = conv(b, "conv", x, 8, 8);
        let y = b.push(Add { a: h, b: h });
        output(b, y);
    });
    assert_fuses(double, 0);
}

#[test]
fn an_activation_after_a_residual_stays() {
    let late = case("late", |b| {
        let x = b.x("x", [1, 5, 7, 8]);
        let h = conv(b, "conv", x, 8, 8);
        let h = b.push(Add { a: h, b: x });
        let y = activate(b, h, Activation::Silu);
        output(b, y);
    });
    assert_fuses(late, 1);
}

#[test]
fn upsampling_goes_into_the_convolution() {
    let up = case("up", |b| {
        let x = b.x("x", [2, 5, 7, 8]);
        let h = b.push(Upsample { x, size: [9, 14] });
        let y = conv(b, "conv", h, 8, 12);
        output(b, y);
    });
    assert_fuses(up, 1);
}

#[test]
fn a_resnet_block_is_four_kernels_and_the_time() {
    let block = case("resnet", |b| {
        let (x, time) = (b.x("x", [2, 6, 5, 8]), b.x("time", [2, 8]));
        let y = resnet(b, "block", x, time, 8);
        output(b, y);
    });
    // Both activations after norms, the time's row, the residual.
    assert_fuses(block, 4);
}

#[test]
fn blocks_in_a_row_keep_their_numbers() {
    let chain = case("chain", |b| {
        let (mut x, time) = (b.x("x", [1, 6, 4, 8]), b.x("time", [1, 8]));
        let context = b.x("context", [1, 7, 12]);
        for i in 0..3 {
            x = resnet(b, &format!("resnet{i}"), x, time, 8);
            x = transformer(b, &format!("attention{i}"), x, context, 8);
        }
        output(b, x);
    });
    // In a transformer: the two residuals and the activation, and keys and values in one.
    assert_fuses(chain, 3 * (4 + 4));
}

/// Parts of models, after each pass in turn.
#[test]
fn each_pass_keeps_the_numbers() {
    let cpu = CpuExecutor::new();
    for mut case in unfused_cases() {
        let plain = run_case(&cpu, &case, Precision::F32).unwrap();
        for (pass, run) in PASSES {
            case.graph = run(std::mem::take(&mut case.graph));
            let off = error(&run_case(&cpu, &case, Precision::F32).unwrap()[0], &plain[0]);
            assert!(off <= 2e-6, "{} after {pass}: off by {off:.1e}\n{}", case.name, case.graph.listing());
        }
    }
}

#[test]
fn a_transformer_block_is_six_kernels() {
    let is = |name: &str| unfused_cases().into_iter().find(|c| c.name == name).unwrap();
    // Two products of three, the gates, two residuals, two norms.
    assert_fuses(is("fused.transformer_unet"), 2 + 1 + 2 + 2);
    // Two values side by side, and the residual.
    assert_fuses(is("fused.skip_unet"), 1 + 1);
    // Of three projections and rows one each is left; three additions.
    assert_fuses(is("fused.times_three"), 2 + 2 + 3);
    assert_fuses(is("fused.times_odd"), 2 + 2 + 4);
}

/// Random graphs of convolutions, activations and additions of earlier values.
#[test]
fn random_graphs_keep_their_numbers() {
    for seed in 0..40u64 {
        let mut state = seed;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let graph = case(&format!("random{seed}"), |b| {
            let mut values = vec![b.x("x", [2, 3, 4, 8])];
            let row = b.x("row", [2, 8]);
            for i in 0..12 {
                let x = values[random(values.len())];
                let y = match random(6) {
                    0 | 1 => conv(b, &format!("conv{i}"), x, 8, 8),
                    2 => activate(b, x, Activation::Silu),
                    3 => b.push(Add { a: x, b: row }),
                    4 => linear(b, &format!("linear{i}"), x, 8, 8),
                    _ => b.push(Add { a: x, b: values[random(values.len())] }),
                };
                values.push(y);
            }
            let last = values[values.len() - 1];
            // Kept small, since additions of a value to itself double it.
            let y = group_norm(b, "last", last, 8);
            output(b, y);
        });
        let cpu = CpuExecutor::new();
        let plain = run_case(&cpu, &graph, Precision::F32).unwrap();
        let fused = Case { graph: fuse(graph.graph.clone()), ..graph };
        let off = error(&run_case(&cpu, &fused, Precision::F32).unwrap()[0], &plain[0]);
        assert!(off <= 1e-5, "{}: off by {off:.1e}\n{}", fused.name, fused.graph.listing());
    }
}

#[test]
fn what_hangs_on_the_prompt_only_runs_once() {
    let cpu = CpuExecutor::new();
    let mut whole = case("split", |b| {
        let x = b.x("x", [1, 9, 8]);
        let spread = Fill::Spread { mean: 0.0, spread: 1.0 };
        b.case.fills.insert("context".into(), spread);
        let context = b.case.graph.input("context", [1, 7, 12], Elem::Float, Rate::Prompt);
        let y = transformer(b, "block", x, context, 8);
        output(b, y);
    });
    let expected = run_case(&cpu, &whole, Precision::F32).unwrap();
    let (first, second) = split(std::mem::take(&mut whole.graph));
    let names: Vec<&str> = first.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["matmul", "matmul"], "keys and values, and no more");

    let first = Case { graph: first, ..case("split", |_| {}) }.with_fills_of(&whole);
    let kept = run_case(&cpu, &first, Precision::F32).unwrap();
    let mut second = Case { graph: second, ..case("split", |_| {}) }.with_fills_of(&whole);
    for ((name, _), kept) in first.graph.outputs().iter().zip(kept) {
        second.fills.insert(name.clone(), Fill::Given(kept));
    }
    let found = run_case(&cpu, &second, Precision::F32).unwrap();
    assert_eq!(found, expected, "not a bit differs");
}

trait WithFills {
    fn with_fills_of(self, other: &Case) -> Self;
}

impl WithFills for Case {
    fn with_fills_of(mut self, other: &Case) -> Self {
        self.fills = other.fills.clone();
        self
    }
}

/// Memory is counted as it is: a second run allocates nothing, and what is dropped is given back.
#[test]
fn memory_is_counted() {
    let cpu = CpuExecutor::new();
    let mut graph = Graph::new("count");
    let x = graph.input("x", [1, 100], Elem::Float, Rate::Step);
    let h = graph.push("a", Activate { x, activation: Activation::Relu }).unwrap();
    let y = graph.push("b", Activate { x: h, activation: Activation::Relu }).unwrap();
    graph.output("y", y);
    let mut ports = Ports::new();
    for name in ["x", "y"] {
        ports.insert(name.into(), cpu.port(name, [1, 100].into(), DType::F16).unwrap());
    }
    assert_eq!(cpu.memory().bytes, 800);
    let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F16 };
    let programs = cpu.prepare(&[spec]).unwrap();
    let values: Vec<f32> = (0..100).map(|i| i as f32 - 50.0).collect();
    let x = HostTensor::from_f32([1, 100], &values).cast(DType::F16);
    cpu.write(&ports["x"], 0, x.bytes()).unwrap();
    cpu.run(&programs[0], 0).unwrap();
    let after_one = cpu.memory();
    // Two values of the graph's own, each of whole lines of 64 bytes.
    assert_eq!((after_one.bytes, after_one.peak), (800 + 2 * 448, 800 + 2 * 448));
    cpu.run(&programs[0], 0).unwrap();
    assert_eq!(cpu.memory(), after_one);
    let found = pollster::block_on(cpu.read(&ports["y"])).unwrap();
    assert_eq!(found.to_f32(), values.iter().map(|v| v.max(0.0)).collect::<Vec<_>>());
    drop(ports);
    drop(programs);
    assert_eq!(cpu.memory().bytes, 0);
}

#[test]
fn a_write_past_the_end_and_a_step_past_the_table_are_errors() {
    let cpu = CpuExecutor::new();
    let port = cpu.port("x", [4].into(), DType::F32).unwrap();
    let problem = cpu.write(&port, 8, &[0; 12]).unwrap_err().to_string();
    assert!(problem.contains("12 bytes at 8"), "{problem}");
    assert!(cpu.write(&port, 8, &[1; 8]).is_ok());
    let mut late = calotype_testkit::cases().into_iter().find(|c| c.name == "row.first").unwrap();
    late.row = 3;
    let problem = run_case(&cpu, &late, Precision::F32).unwrap_err().to_string();
    assert!(problem.contains("step 3 of a table of 3"), "{problem}");
}
