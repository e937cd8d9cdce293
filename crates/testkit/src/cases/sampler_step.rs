use crate::{Builder, Case, Fill, Tolerance};
use calotype_graph::ops::{
    BASIS, Guide, KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, REGISTERS, SamplerStep, StepRow,
};
use calotype_graph::{Elem, ValueId};

/// A step whose every coefficient is something else, between -1 and 1.
pub(super) fn step(timestep: f32) -> StepRow {
    let coefficient =
        |r: usize, i: usize| if i < BASIS { ((r * 12 + i) as f32 * 1.7 + 0.3).sin() } else { 0.0 };
    let row = |r: usize| std::array::from_fn(|i| coefficient(r, i));
    StepRow {
        rows: std::array::from_fn(row),
        clamp: std::array::from_fn(|i| if i == REGISTERS + 1 { 0.0 } else { coefficient(9, i) }),
        clamp_range: 0.0,
        guidance: 7.5,
        rescale: 0.7,
        momentum: -0.5,
        norm: 12.0,
        along: 0.3,
        quantile: 0.9,
        input_scale: 0.75,
        timestep,
        noise: 0,
        uses_noise: 0,
        row: 0,
        kept_by: [0.6, -0.4, 0.8, 0.5],
        kept: 1,
        ..StepRow::default()
    }
}

pub(super) fn table(b: &mut Builder, rows: Vec<StepRow>) -> ValueId {
    b.input("table", [rows.len(), StepRow::WORDS], Elem::U32, Fill::Steps(rows))
}

/// A sampler step's variations.
#[derive(Clone, Copy)]
struct Step {
    prompts: usize,
    guided: bool,
    guide: Guide,
    /// Whether guidance remembers.
    memory: bool,
    clamp: f32,
    bounded: bool,
    noise: bool,
    keeps: u32,
}

fn sampler(name: &str, [batch, height, width, channels]: [usize; 4], with: Step) -> Case {
    // Twelve products with coefficients up to 1 and a guidance of 7.5; f16 rounds the model's input only.
    let mut case = Case::new(&format!("sampler_step.{name}"), Tolerance { f32: 3e-6, f16: 1e-3 }, |b| {
        let images = (with.prompts + usize::from(with.guided)) * batch;
        let image = height * width * channels;
        let wide = Fill::Spread { mean: 0.0, spread: 1.0 };
        let output = b.x("output", [images, height, width, channels]);
        let kept = REGISTERS + usize::from(with.memory);
        let registers = b.input("registers", [kept, batch, image], Elem::F32, wide.clone());
        let input = b.x("input", [images, height, width, channels]);
        let noise = b.input("noise", [4, batch * image], Elem::F32, wide);
        let near_one = Fill::Spread { mean: 1.0, spread: 0.3 };
        let weights = b.input("weights", [with.prompts, batch], Elem::F32, near_one);
        let uses = StepRow {
            noise: 1,
            uses_noise: with.noise.into(),
            clamp_range: with.clamp,
            keeps: with.keeps,
            ..step(500.0)
        };
        let table = table(b, vec![step(999.0), step(750.0), uses]);
        let op = SamplerStep {
            output,
            registers,
            input,
            noise,
            table,
            weights,
            guided: with.guided,
            guide: with.guide,
            bounded: with.bounded,
        };
        // What it yields means something only where it is asked for.
        if op.own() > 0 {
            b.op(op);
        } else {
            b.push(op);
        }
    });
    case.row = 2;
    case
}

pub(super) fn cases() -> Vec<Case> {
    let plain = Step {
        prompts: 1,
        guided: false,
        guide: Guide::Sum,
        memory: false,
        clamp: 0.0,
        bounded: false,
        noise: false,
        keeps: 0,
    };
    let guided = Step { guided: true, ..plain };
    let all = Step { guided: true, guide: Guide::Rescaled, clamp: 0.5, noise: true, ..plain };
    let several = Step { prompts: 3, ..plain };
    let projected = Step { guide: Guide::Projected, ..guided };
    let perpendicular = Step { guide: Guide::Perpendicular, prompts: 2, ..guided };
    let scaled = Step { guide: Guide::Scaled, ..guided };
    let bounded = Step { clamp: 4.0, bounded: true, ..plain };
    vec![
        sampler("plain", [1, 8, 8, 4], plain),
        sampler("guided", [1, 64, 64, 4], guided),
        sampler("guided_batch", [3, 9, 25, 4], guided),
        sampler("noise", [2, 5, 7, 4], Step { noise: true, ..plain }),
        sampler("clamp", [2, 5, 7, 4], Step { clamp: 0.5, ..plain }),
        sampler("rescale", [2, 16, 16, 4], Step { guide: Guide::Rescaled, ..guided }),
        sampler("all", [3, 9, 7, 4], all),
        sampler("all_odd_channels", [3, 9, 7, 3], all),
        sampler("prompts", [2, 9, 7, 4], Step { guided: true, ..several }),
        sampler("prompts_alone", [2, 8, 8, 4], several),
        sampler("prompts_all", [3, 9, 7, 3], Step { prompts: 2, ..all }),
        sampler("kept_output", [2, 5, 7, 4], Step { keeps: KEEPS_OUTPUT, ..guided }),
        sampler("kept_sample", [2, 5, 7, 4], Step { keeps: KEEPS_SAMPLE, ..plain }),
        sampler("kept_input", [2, 5, 7, 3], Step { keeps: KEEPS_INPUT, ..guided }),
        sampler(
            "kept_all",
            [2, 9, 7, 4],
            Step { keeps: KEEPS_OUTPUT | KEEPS_SAMPLE | KEEPS_INPUT, prompts: 2, ..all },
        ),
        sampler("projected", [2, 16, 16, 4], projected),
        sampler("projected_memory", [3, 9, 7, 4], Step { memory: true, ..projected }),
        sampler("projected_odd_channels", [2, 9, 7, 3], Step { memory: true, prompts: 2, ..projected }),
        sampler("perpendicular", [3, 9, 7, 4], perpendicular),
        sampler("perpendicular_odd_channels", [2, 9, 7, 3], perpendicular),
        sampler("scaled", [3, 9, 7, 4], scaled),
        sampler("bounded", [2, 16, 16, 4], bounded),
        sampler(
            "bounded_guided",
            [3, 9, 7, 4],
            Step { bounded: true, noise: true, ..Step { clamp: 4.0, ..scaled } },
        ),
        sampler(
            "bounded_odd_channels",
            [2, 9, 7, 3],
            Step { memory: true, bounded: true, clamp: 4.0, ..projected },
        ),
        sampler("one_pixel", [1, 1, 1, 4], Step { noise: true, ..guided }),
    ]
}
