use super::exp::exp;
use crate::product::{Matrix, Threads, product};
use crate::values::Values;
use calotype_graph::ops::{Attention, Shapes};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Queries whose scores are held at a time.
const BLOCK: usize = 128;

/// Heads apart, and the threads' scores.
pub(super) fn scratch(op: &Attention, shapes: &dyn Shapes) -> Vec<usize> {
    let [q, k] = [op.q, op.k].map(|v| shapes.shape(v));
    let [queries, keys] = [q, k].map(|s| s.rows() / s.dims()[0].max(1));
    vec![q.numel(), scores(queries, keys)]
}

fn scores(queries: usize, keys: usize) -> usize {
    (rayon::current_num_threads() * BLOCK.min(queries)).saturating_mul(keys)
}

/// `softmax(scale · q kᵀ) v` for each head. Threads share out (image, head, block of queries); each holds the
/// scores of its own block only.
pub(super) fn run(op: &Attention, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let held = [op.q, op.k, op.v].map(|x| values.columns(x));
    let read = [0, 1, 2].map(|i| held[i].0.read());
    // Rows may be wider than the heads: queries, keys and values side by side.
    let [(q, q_row), (k, k_row), (v, v_row)] = [0, 1, 2].map(|i| (&read[i][held[i].2..], held[i].1));
    let (shape, keys_shape) = (values.shape(op.q), values.shape(op.k));
    let (images, width) = (shape.dims()[0], shape.channels());
    if y.is_empty() {
        return Ok(());
    }
    let (queries, keys) = (shape.rows() / images, keys_shape.rows() / images);
    let head = width / op.heads;
    if keys == 0 {
        return Err("has no keys to attend to".into());
    }

    // Heads lie apart here, so that every thread writes a stretch of its own.
    let apart = values.scratch(y.len())?;
    // [images, heads, queries, head]
    let block = BLOCK.min(queries);
    let scores = values.scratch(scores(queries, keys))?;
    let scores: Vec<Mutex<&mut [f32]>> = scores.chunks_mut(block * keys).map(Mutex::new).collect();

    apart.par_chunks_mut(queries * head).enumerate().for_each(|(at, apart)| {
        let (image, column) = (at / op.heads, at % op.heads * head);
        let k = Matrix::new(&k[image * keys * k_row + column..], keys, head, k_row);
        let v = Matrix::new(&v[image * keys * v_row + column..], keys, head, v_row);
        apart.par_chunks_mut(block * head).enumerate().for_each(|(i, y)| {
            let (first, rows) = (i * block, y.len() / head);
            let q = &q[(image * queries + first) * q_row + column..];
            let own = &scores[rayon::current_thread_index().unwrap_or(0) % scores.len()];
            let scores = &mut own.lock().unwrap_or_else(PoisonError::into_inner)[..rows * keys];
            product(scores, op.scale, Matrix::new(q, rows, head, q_row), k.transposed(), Threads::One);
            let mut totals = [0.0; BLOCK];
            for (row, (scores, total)) in scores.chunks_exact_mut(keys).zip(&mut totals).enumerate() {
                let seen = if op.causal { keys.min(first + row + 1) } else { keys };
                *total = exponentials(&mut scores[..seen]);
                scores[seen..].fill(0.0);
            }
            product(y, 1.0, Matrix::new(scores, rows, keys, keys), v, Threads::One);
            for (y, total) in y.chunks_exact_mut(head).zip(totals) {
                let norm = (1.0 / total) as f32;
                y.iter_mut().for_each(|y| *y *= norm);
            }
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

/// Turns scores into exponentials relative to the largest, and returns their sum.
fn exponentials(scores: &mut [f32]) -> f64 {
    // Eight running maxima and sums instead of one, which compile to vectors.
    const LANES: usize = 8;
    let mut tops = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = scores.as_chunks::<LANES>();
    for chunk in whole {
        tops.iter_mut().zip(chunk).for_each(|(top, &s)| *top = if s > *top { s } else { *top });
    }
    let top = tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);

    let mut sums = [0.0; LANES];
    let (whole, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in whole {
        chunk.iter_mut().for_each(|s| *s = exp(*s - top));
        sums.iter_mut().zip(chunk).for_each(|(sum, s)| *sum += f64::from(*s));
    }
    rest.iter_mut().for_each(|s| *s = exp(*s - top));
    sums.iter().sum::<f64>() + rest.iter().map(|&s| f64::from(s)).sum::<f64>()
}
