use super::sampler_step::{step, table};
use crate::{Case, Tolerance};
use calotype_graph::ops::TimestepEmbedding;

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

pub(super) fn cases() -> Vec<Case> {
    vec![
        timestep("sd15", 160, 981.0, true),
        timestep("sines_first", 160, 521.0, false),
        timestep("fraction", 16, 37.625, true),
        timestep("zero", 16, 0.0, true),
        timestep("one", 1, 999.0, true),
        timestep("odd", 5, 999.0, false),
    ]
}
