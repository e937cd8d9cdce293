//! OFT and BOFT as PEFT has them, and OneTrainer: rotations of a layer's inputs, where kohya's and LyCORIS' are of its outputs.

use super::algebra::{Weight, cayley};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit};
use Piece::{Lengths, Stages, Triangles};
use calotype_tensor::parallel::prelude::*;

/// Each output's weights `w` become `R·w`, block by block: `Q` is skew-symmetric, of its upper triangle `[blocks, n·(n−1)/2]`, row
/// by row, one for each block or one for all of them. `R` is the first terms of `I + 2Q + 2Q² + …`, or is solved for, and then
/// `(I − Q)(I + Q)⁻¹`, as PEFT's version 0.21 has it; at strength m by `m·R + (1 − m)·I` (Qiu et al. 2023, arXiv:2306.07280;
/// PEFT's `tuners/oft/layer.py`).
pub(super) struct Oft;

/// Stages `[stages, blocks, n, n]` of such rotations, solved for, of half the blocks' skew-symmetric part: stage i takes runs
/// of n/2 inputs that lie `2^i` runs apart together. `boft_s` is a factor for each output besides (Liu et al. 2024,
/// arXiv:2311.06243; PEFT's `tuners/boft/layer.py`).
pub(super) struct Boft;

impl Kind for Oft {
    fn name(&self) -> &'static str {
        "OFT"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Triangles]
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let columns: usize = weight.iter().skip(1).product();
        let fits = match *shapes.of(Triangles) {
            [blocks, numbers] => side(numbers).is_some_and(|n| {
                blocks > 0 && columns.is_multiple_of(n) && [1, columns / n].contains(&blocks)
            }),
            _ => false,
        };
        if fits { Ok(()) } else { Err(misfit(shapes, Triangles, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, _factor: Option<f64>, strength: f64) {
        let triangles = &values[&Triangles];
        let Some(n) = side(triangles.columns()) else { return };
        let bound = values.adapter.bound().map(|eps| eps / (triangles.rows() as f64).sqrt());
        let turn = |triangle: &[f32]| {
            let mut q = skew(triangle, n);
            let norm = q.iter().map(|v| v * v).sum::<f64>().sqrt();
            if let Some(most) = bound.filter(|most| norm > *most) {
                q.iter_mut().for_each(|v| *v *= most / norm);
            }
            match values.adapter.series() {
                Some(terms) => series(&q, n, terms),
                None => inverse_cayley(&q, n),
            }
        };
        let turns = triangles.values.par_chunks(triangles.columns().max(1)).map(turn).collect();
        turn_inputs(weight, &[turns], n, strength, |_| 1.0);
    }
}

impl Kind for Boft {
    fn name(&self) -> &'static str {
        "BOFT"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Stages, Lengths]
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let columns: usize = weight.iter().skip(1).product();
        let fits = match *shapes.of(Stages) {
            [stages, blocks, n, m] => {
                let reach = u32::try_from(stages).ok().filter(|stages| (1..usize::BITS).contains(stages));
                let reach = reach.and_then(|stages| n.checked_mul(1 << (stages - 1)));
                let whole = reach.is_some_and(|reach| reach > 0 && columns.is_multiple_of(reach));
                n == m
                    && blocks.checked_mul(n) == Some(columns)
                    && whole
                    && (stages == 1 || n.is_multiple_of(2))
            }
            _ => false,
        };
        if !fits {
            return Err(misfit(shapes, Stages, weight));
        }
        let lengths: usize = shapes.of(Lengths).iter().product();
        if weight.first() == Some(&lengths) { Ok(()) } else { Err(misfit(shapes, Lengths, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, _factor: Option<f64>, strength: f64) {
        let (stages, lengths) = (&values[&Stages], &values[&Lengths].values);
        let (blocks, n) = (stages.shape[1], stages.shape[3]);
        let turn = |block: &[f32]| {
            let at = |r: usize, c: usize| f64::from(block[r * n + c]);
            let half: Vec<f64> = (0..n * n).map(|i| (at(i / n, i % n) - at(i % n, i / n)) / 2.0).collect();
            inverse_cayley(&half, n)
        };
        let turns: Vec<_> = stages.values.par_chunks(n * n).map(turn).collect();
        let turns: Vec<_> = turns.chunks(blocks).map(<[_]>::to_vec).collect();
        turn_inputs(weight, &turns, n, strength, |at| 1.0 + strength * (f64::from(lengths[at]) - 1.0));
    }
}

/// Turns each output's weights in stages of blocks of `n`, and multiplies them with its factor.
fn turn_inputs(
    weight: &mut Weight,
    stages: &[Vec<Vec<f64>>],
    n: usize,
    strength: f64,
    factor: impl Fn(usize) -> f64 + Sync,
) {
    let columns = weight.columns();
    let rows = weight.values.par_chunks_mut(columns.max(1)).enumerate();
    rows.for_each(|(at, row)| {
        let mut now: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        for (stage, turns) in stages.iter().enumerate() {
            let mut next = vec![0.0; columns];
            for (block, start) in (0..columns).step_by(n).enumerate() {
                let turn = &turns[block % turns.len()];
                let before: Vec<f64> = (start..start + n).map(|at| now[place(at, stage, n)]).collect();
                for (i, (own, turn)) in before.iter().zip(turn.chunks(n)).enumerate() {
                    let turned: f64 = turn.iter().zip(&before).map(|(by, v)| by * v).sum();
                    next[place(start + i, stage, n)] = own + strength * (turned - own);
                }
            }
            now = next;
        }
        let factor = factor(at);
        row.iter_mut().zip(now).for_each(|(w, v)| *w = (v * factor) as f32);
    });
}

/// The input that stands at a place of a stage's order: of each group of `2^(stage + 1)` runs the first half of them and the
/// second by turns (PEFT: `block_butterfly_perm`).
fn place(at: usize, stage: usize, n: usize) -> usize {
    if stage == 0 {
        return at;
    }
    let run = n / 2;
    let half = run << stage;
    let (within, turn) = (at % (2 * half), at % (2 * half) / run);
    at - within + turn % 2 * half + turn / 2 * run + within % run
}

/// The side of a square whose upper triangle has so many numbers.
fn side(numbers: usize) -> Option<usize> {
    let n = (1 + numbers.checked_mul(8)?).isqrt().div_ceil(2);
    (n > 1 && n * (n - 1) / 2 == numbers).then_some(n)
}

/// A skew-symmetric matrix of its upper triangle.
fn skew(triangle: &[f32], n: usize) -> Vec<f64> {
    let mut q = vec![0.0; n * n];
    let places = (0..n).flat_map(|r| (r + 1..n).map(move |c| (r, c)));
    for ((r, c), v) in places.zip(triangle) {
        (q[r * n + c], q[c * n + r]) = (f64::from(*v), -f64::from(*v));
    }
    q
}

/// `(I − Q)(I + Q)⁻¹`.
fn inverse_cayley(q: &[f64], n: usize) -> Vec<f64> {
    cayley(&q.iter().map(|v| -v).collect::<Vec<_>>(), n)
}

/// The first terms of `(I + Q)(I − Q)⁻¹ = I + 2Q + 2Q² + …`, of which PEFT takes the last once.
fn series(q: &[f64], n: usize, terms: u32) -> Vec<f64> {
    let mut sum = vec![0.0; n * n];
    sum.iter_mut().step_by(n + 1).for_each(|v| *v = 1.0);
    let mut power = q.to_vec();
    // Of the square, too, there is no end before the cube.
    let last = if terms > 2 { terms.max(4) - 1 } else { terms.saturating_sub(1) };
    for k in 1..=last {
        if k > 1 {
            power = times(&power, q, n);
        }
        let by = if k == last && k > 2 { 1.0 } else { 2.0 };
        sum.iter_mut().zip(&power).for_each(|(sum, v)| *sum += by * v);
    }
    sum
}

fn times(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let dot = |i: usize| (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum();
    (0..n * n).map(dot).collect()
}
