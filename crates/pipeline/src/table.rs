//! Steps as the device sees them.

use crate::guidance::Guidance;
use crate::kept::Kept;
use crate::order::Order;
use calotype_graph::ops::StepRow;
use calotype_sampling::{BASIS, Step};

/// How far evaluations are guided, and by what numbers.
#[derive(Clone, Copy)]
pub(crate) struct Guided {
    scale: f32,
    rescale: f32,
    kind: Guidance,
}

impl Guided {
    pub(crate) fn of(order: &Order) -> Self {
        let scale = f64::from(order.cfg_scale) * order.program.guidance;
        Self { scale: scale as f32, rescale: order.cfg_rescale, kind: order.guidance }
    }

    pub(crate) fn unless(self, alone: bool) -> Self {
        if alone { Self { scale: 1.0, ..self } } else { self }
    }
}

/// The table of steps as the device sees it, each guided so and keeping so much of a picture.
pub(crate) fn table(steps: &[Step], guidance: impl Fn(usize) -> Guided, kept: Option<&Kept>) -> Vec<u32> {
    let row = |(i, step): (usize, _)| {
        let next = steps.get(i + 1).map_or(1.0, |step| step.input_scale);
        let row = StepRow { row: i as u32, ..row(step, next, guidance(i)) };
        kept.map_or(row, |kept| kept.row(i, row)).words()
    };
    steps.iter().enumerate().flat_map(row).collect()
}

/// A step as the device sees it. `next_scale` multiplies the new sample to give the next evaluation's input.
fn row(step: &Step, next_scale: f32, guidance: Guided) -> StepRow {
    let [momentum, norm, along] = match guidance.kind {
        Guidance::Apg { eta, norm, momentum } => [momentum, norm, eta],
        Guidance::PerpNeg { scale } => [0.0, 0.0, scale],
        _ => [0.0; 3],
    };
    let clamp = step.clamp.as_ref();
    StepRow {
        rows: step.rows,
        clamp: clamp.map_or([0.0; BASIS], |c| c.row),
        clamp_range: clamp.map_or(0.0, |c| c.range),
        guidance: guidance.scale,
        rescale: guidance.rescale,
        momentum,
        norm,
        along,
        quantile: clamp.and_then(|clamp| clamp.quantile).unwrap_or(0.0),
        input_scale: next_scale,
        timestep: step.timestep,
        noise: step.noise.unwrap_or(0) as u32,
        uses_noise: step.noise.is_some().into(),
        ..StepRow::default()
    }
}
