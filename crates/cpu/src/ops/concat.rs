use crate::program::{Held, Scratch, Values};
use calotype_graph::ValueId;
use calotype_graph::ops::{Concat, Shapes};
use rayon::prelude::*;
use std::cell::{Ref, RefMut};

/// a's channels followed by b's, row by row.
pub(super) fn run(op: &Concat, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (a, b) = (values.get(op.a), values.get(op.b));
    let (a, b) = (a.read(), b.read());
    join(&a, &b, [op.a, op.b].map(|v| values.shape(v).channels()), y);
    Ok(())
}

fn join(a: &[f32], b: &[f32], [a_width, b_width]: [usize; 2], y: &mut [f32]) {
    if a_width + b_width == 0 {
        return;
    }
    y.par_chunks_mut(a_width + b_width).enumerate().for_each(|(row, y)| {
        let (first, second) = y.split_at_mut(a_width);
        first.copy_from_slice(&a[row * a_width..][..a_width]);
        second.copy_from_slice(&b[row * b_width..][..b_width]);
    });
}

/// A value, or two side by side.
pub(super) enum Joined<'a> {
    /// As it lies.
    One(Held),
    /// Put together.
    Two(Scratch<'a>),
}

/// A value as [`Joined::read`] gives it.
pub(super) enum Read<'a> {
    One(Ref<'a, [f32]>),
    Two(RefMut<'a, [f32]>),
}

impl<'a> Joined<'a> {
    pub fn new(values: &'a Values<'_>, x: ValueId, beside: Option<ValueId>) -> Result<Self, String> {
        let a = values.get(x);
        let Some(beside) = beside else { return Ok(Self::One(a)) };
        let b = values.get(beside);
        let both = values.scratch(values.shape(x).numel() + values.shape(beside).numel())?;
        join(&a.read(), &b.read(), [x, beside].map(|v| values.shape(v).channels()), &mut both.write());
        Ok(Self::Two(both))
    }

    pub fn read(&self) -> Read<'_> {
        match self {
            Self::One(held) => Read::One(held.read()),
            Self::Two(both) => Read::Two(both.write()),
        }
    }
}

impl std::ops::Deref for Read<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::One(x) => x,
            Self::Two(x) => x,
        }
    }
}
