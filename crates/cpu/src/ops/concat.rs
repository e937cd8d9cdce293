use crate::program::Values;
use calotype_graph::ops::{Concat, Shapes};

/// a's channels followed by b's, row by row.
pub(super) fn run(op: &Concat, values: &Values<'_>, y: &mut [f32]) {
    let (a, b) = (values.get(op.a), values.get(op.b));
    let (a, b) = (a.read(), b.read());
    let (a_width, b_width) = (values.shape(op.a).channels(), values.shape(op.b).channels());
    if a_width + b_width == 0 {
        return;
    }
    for (row, y) in y.chunks_exact_mut(a_width + b_width).enumerate() {
        let (first, second) = y.split_at_mut(a_width);
        first.copy_from_slice(&a[row * a_width..][..a_width]);
        second.copy_from_slice(&b[row * b_width..][..b_width]);
    }
}
