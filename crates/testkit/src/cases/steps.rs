use crate::{Builder, Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::{
    BASIS, FromLatents, REGISTERS, Range, Row, SamplerStep, StepRow, TimestepEmbedding, ToRgba8,
};
use calotype_tensor::{HostTensor, Shape};

/// A step whose every coefficient is something else, between -1 and 1.
fn step(timestep: f32) -> StepRow {
    let coefficient =
        |r: usize, i: usize| if i < BASIS { ((r * 12 + i) as f32 * 1.7 + 0.3).sin() } else { 0.0 };
    let row = |r: usize| std::array::from_fn(|i| coefficient(r, i));
    StepRow {
        rows: std::array::from_fn(row),
        clamp: std::array::from_fn(|i| if i == REGISTERS + 1 { 0.0 } else { coefficient(9, i) }),
        clamp_range: 0.0,
        guidance: 7.5,
        rescale: 0.7,
        input_scale: 0.75,
        timestep,
        noise: 0,
        uses_noise: 0,
        row: 0,
    }
}

fn table(b: &mut Builder, rows: Vec<StepRow>) -> calotype_graph::ValueId {
    b.input("table", [rows.len(), StepRow::WORDS], Elem::U32, Fill::Steps(rows))
}

fn timestep(name: &str, half: usize, time: f32, cosine_first: bool) -> Case {
    // The angle is a rounded product, at time 999 off by 3e-5 of a radian for executors that do not round it so;
    // ours all do, and their sines hold 1e-6.
    let mut case =
        Case::new(&format!("timestep_embedding.{name}"), Tolerance { f32: 2e-6, f16: 1e-3 }, |b| {
            let table = table(b, vec![step(1.0), step(time), step(3.0)]);
            let frequency = |i: usize| (-(10_000f32.ln()) * i as f32 / half as f32).exp();
            let frequencies: Vec<f32> = (0..half).map(frequency).collect();
            let frequencies = b.case.graph.constant("frequencies", &frequencies);
            b.op(TimestepEmbedding { table, frequencies, cosine_first });
        });
    case.row = 1;
    case
}

fn row(name: &str, steps: usize, channels: usize, row: usize) -> Case {
    let mut case = Case::new(&format!("row.{name}"), Tolerance::EXACT, |b| {
        let step = |row| StepRow { row: row as u32, ..step(row as f32) };
        let table = table(b, (0..steps).map(step).collect());
        let x = b.x("x", [steps, channels]);
        b.op(Row { x, table });
    });
    case.row = row;
    case
}

/// A sampler step's variations.
#[derive(Clone, Copy, Default)]
struct Step {
    guided: bool,
    rescale: bool,
    clamp: f32,
    noise: bool,
}

fn sampler(name: &str, [batch, height, width, channels]: [usize; 4], with: Step) -> Case {
    // Eleven products with coefficients up to 1 and a guidance of 7.5; f16 rounds the model's input only.
    let mut case = Case::new(&format!("sampler_step.{name}"), Tolerance { f32: 3e-6, f16: 1e-3 }, |b| {
        let images = if with.guided { 2 * batch } else { batch };
        let image = height * width * channels;
        let wide = Fill::Spread { mean: 0.0, spread: 1.0 };
        let output = b.x("output", [images, height, width, channels]);
        let registers = b.input("registers", [REGISTERS, batch, image], Elem::F32, wide.clone());
        let input = b.x("input", [images, height, width, channels]);
        let noise = b.input("noise", [2, batch * image], Elem::F32, wide);
        let uses =
            StepRow { noise: 1, uses_noise: with.noise.into(), clamp_range: with.clamp, ..step(500.0) };
        let table = table(b, vec![step(999.0), step(750.0), uses]);
        let op = SamplerStep {
            output,
            registers,
            input,
            noise,
            table,
            guided: with.guided,
            rescale: with.rescale,
        };
        // What it yields means something only where the guided output is rescaled.
        if with.rescale {
            b.op(op);
        } else {
            b.push(op);
        }
    });
    case.row = 2;
    case
}

fn from_latents(name: &str, shape: [usize; 4], from: usize, copies: usize) -> Case {
    Case::new(&format!("from_latents.{name}"), Tolerance::POINTWISE, |b| {
        let shape = Shape::from(shape);
        let fill = Fill::Spread { mean: 0.0, spread: 1.0 };
        let latents = b.input("latents", [from + shape.numel() + 5], Elem::F32, fill);
        b.op(FromLatents { latents, shape, from, copies, scale: 1.0 / 0.18215, shift: 0.125 });
    })
}

fn to_rgba8<const N: usize>(name: &str, shape: [usize; N], fill: Fill) -> Case {
    // A value half-way between two bytes may fall to either side.
    let tolerance = Tolerance { f32: 1.0 / 255.0, f16: 1.0 / 255.0 };
    Case::new(&format!("to_rgba8.{name}"), tolerance, |b| {
        let x = b.input("x", shape, Elem::Float, fill);
        b.op(ToRgba8 { x });
    })
}

fn range<const N: usize>(name: &str, shape: [usize; N], fill: Fill) -> Case {
    Case::new(&format!("range.{name}"), Tolerance::EXACT, |b| {
        let x = b.input("x", shape, Elem::Float, fill);
        let clear = HostTensor::from_u32([3, 4], &[Range::CLEAR; 3].concat());
        let found = b.input("found", [3, 4], Elem::U32, Fill::Given(clear));
        b.push(Range { x, found, slot: 1 });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let plain = Step::default();
    let guided = Step { guided: true, ..plain };
    let all = Step { guided: true, rescale: true, clamp: 0.5, noise: true };
    let bell = Fill::Spread { mean: 0.0, spread: 1.0 };
    let damaged =
        [0.5, f32::NAN, -3.0, f32::INFINITY, 0.0, -0.25, f32::NEG_INFINITY, 7.0, f32::NAN, 1e-3, -1e-3, 2.0];
    let damaged = Fill::Given(HostTensor::from_f32([3, 4], &damaged));
    let spread = [-3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0];
    let spread = Fill::Given(HostTensor::from_f32([1, 1, 2, 4], &spread));
    vec![
        timestep("sd15", 160, 981.0, true),
        timestep("sines_first", 160, 521.0, false),
        timestep("fraction", 16, 37.625, true),
        timestep("zero", 16, 0.0, true),
        timestep("one", 1, 999.0, true),
        timestep("odd", 5, 999.0, false),
        row("time", 64, 20160, 19),
        row("first", 3, 12, 0),
        row("odd", 3, 7, 2),
        sampler("plain", [1, 8, 8, 4], plain),
        sampler("guided", [1, 64, 64, 4], guided),
        sampler("guided_batch", [3, 9, 25, 4], guided),
        sampler("noise", [2, 5, 7, 4], Step { noise: true, ..plain }),
        sampler("clamp", [2, 5, 7, 4], Step { clamp: 0.5, ..plain }),
        sampler("rescale", [2, 16, 16, 4], Step { rescale: true, ..guided }),
        sampler("all", [3, 9, 7, 4], all),
        sampler("all_odd_channels", [3, 9, 7, 3], all),
        sampler("one_pixel", [1, 1, 1, 4], Step { noise: true, ..guided }),
        from_latents("one_copy", [1, 8, 8, 4], 0, 1),
        from_latents("two_copies", [2, 9, 25, 4], 0, 2),
        from_latents("from_the_middle", [1, 5, 7, 4], 140, 2),
        from_latents("odd", [1, 3, 5, 3], 7, 2),
        to_rgba8("picture", [2, 33, 47, 4], Fill::Spread { mean: 0.0, spread: 0.6 }),
        to_rgba8("clipped", [1, 1, 2, 4], spread),
        range("unet", [2, 32, 32, 320], bell.clone()),
        range("odd", [1, 3, 5, 7], bell.clone()),
        range("one", [1, 1], bell),
        range("damaged", [3, 4], damaged),
        range("all_negative", [2, 7, 8], Fill::Spread { mean: -20.0, spread: 1.0 }),
    ]
}
