use crate::product::{Matrix, Threads, product};
use crate::program::Values;
use calotype_graph::ops::{Attention, Shapes};
use rayon::prelude::*;

/// Queries whose scores are held at a time.
const BLOCK: usize = 256;

/// `softmax(scale · q kᵀ) v` for each head. Threads share out (image, head, block of queries); each holds the
/// scores of its own block only.
pub(super) fn run(op: &Attention, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let [q, k, v] = [op.q, op.k, op.v].map(|x| values.get(x));
    let [q, k, v] = [&q.read()[..], &k.read()[..], &v.read()[..]];
    let (shape, keys_shape) = (values.shape(op.q), values.shape(op.k));
    let (images, width) = (shape.dims()[0], shape.channels());
    if y.is_empty() {
        return Ok(());
    }
    let (queries, keys) = (shape.rows() / images, keys_shape.rows() / images);
    let head = width / op.heads;

    // Heads lie apart here, so that every thread writes a stretch of its own.
    let scratch = values.scratch(y.len())?;
    let apart = &mut *scratch.write(); // [image, head, queries, head]
    apart.par_chunks_mut(queries * head).enumerate().for_each(|(at, apart)| {
        let (image, column) = (at / op.heads, at % op.heads * head);
        let k = Matrix::new(&k[image * keys * width + column..], keys, head, width);
        let v = Matrix::new(&v[image * keys * width + column..], keys, head, width);
        apart.par_chunks_mut(BLOCK * head).enumerate().for_each(|(block, y)| {
            let first = block * BLOCK;
            let rows = y.len() / head;
            let q = &q[(image * queries + first) * width + column..];
            let q = Matrix::new(q, rows, head, width);
            let mut scores = vec![0.0; rows * keys];
            product(&mut scores, op.scale, q, k.transposed(), Threads::One);
            for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                let seen = if op.causal { keys.min(first + row + 1) } else { keys };
                softmax(&mut scores[..seen]);
                scores[seen..].fill(0.0);
            }
            product(y, 1.0, Matrix::new(&scores, rows, keys, keys), v, Threads::One);
        });
    });
    y.par_chunks_mut(width).enumerate().for_each(|(row, y)| {
        let (image, query) = (row / queries, row % queries);
        for (i, y) in y.chunks_exact_mut(head).enumerate() {
            y.copy_from_slice(&apart[((image * op.heads + i) * queries + query) * head..][..head]);
        }
    });
    Ok(())
}

fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = (*s - top).exp());
    let total: f64 = scores.iter().map(|&s| f64::from(s)).sum();
    let norm = (1.0 / total) as f32;
    scores.iter_mut().for_each(|s| *s *= norm);
}
