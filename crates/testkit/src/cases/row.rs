use super::sampler_step::{step, table};
use crate::{Case, Tolerance};
use calotype_graph::ops::{Row, StepRow};

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

pub(super) fn cases() -> Vec<Case> {
    vec![row("time", 64, 20160, 19), row("first", 3, 12, 0), row("odd", 3, 7, 2)]
}
