//! OFT: rotations of a layer's outputs, block by block.

use super::algebra::{Array, Weight, add_scaled, cayley};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit};
use Piece::{Blocks, Rescale, Rotations};
use calotype_tensor::parallel::prelude::*;

/// `W'[k, m] = Σ R[k, n, m] · W[k, n]` over `blocks` `[k, n, n]`, of which `R` is Cayley's transform of the skew-symmetric
/// part; at strength m by `m·R + (1 − m)·I`. Where alpha is above zero the part's norm is at most alpha times the layer's
/// outputs. `rescale` is a factor for each output besides (Qiu et al. 2023, arXiv:2306.07280; kohya's `networks/oft.py`,
/// LyCORIS' `functional/diag_oft.py`). LyCORIS' first form, `oft_diag`, holds `R` itself (A1111's `network_oft.py`).
pub(super) struct Oft;

impl Kind for Oft {
    fn name(&self) -> &'static str {
        "OFT"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Blocks, Rotations, Rescale]
    }

    fn tells(&self, shapes: &Shapes) -> bool {
        shapes.has(Rotations) || shapes.of(Blocks).len() == 3
    }

    fn plain_alpha(&self) -> bool {
        true
    }

    fn lacks(&self, _shapes: &Shapes) -> Option<Piece> {
        None
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let piece = if shapes.has(Rotations) { Rotations } else { Blocks };
        let fits = match shapes.of(piece) {
            [blocks, n, m] => n == m && blocks.checked_mul(*n) == weight.first().copied() && *n > 0,
            _ => false,
        };
        if fits { rescale_fits(shapes, weight) } else { Err(misfit(shapes, piece, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        // Of `R`, whose inverse is its transpose, what is multiplied with from the left: `Rᵀ`.
        let (n, turns) = match (values.get(&Rotations), values.get(&Blocks)) {
            (Some(given), _) => {
                (given.shape[2], given.values.chunks(given.shape[2].pow(2)).map(flipped).collect())
            }
            (_, Some(blocks)) => (blocks.shape[2], rotations(blocks, factor, weight.rows(), true)),
            (None, None) => return,
        };
        let (columns, gains) = (weight.columns(), gains(values, strength));
        let blocks = weight.values.par_chunks_mut(n * columns.max(1)).zip(&turns).enumerate();
        blocks.for_each(|(block, (rows, turn))| {
            let before: Vec<f64> = rows.iter().map(|v| f64::from(*v)).collect();
            let mut sum = vec![0.0; columns];
            for (at, row) in rows.chunks_mut(columns).enumerate() {
                sum.fill(0.0);
                for (by, from) in turn[at * n..][..n].iter().zip(before.chunks(columns)) {
                    add_scaled(&mut sum, *by, from.iter().copied());
                }
                for ((w, before), sum) in row.iter_mut().zip(&before[at * columns..]).zip(&sum) {
                    *w = ((before + strength * (sum - before)) * gains(block * n + at)) as f32;
                }
            }
        });
    }
}

/// Whether there is a factor for each output, if there are any.
pub(super) fn rescale_fits(shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
    let many = shapes.of(Rescale).iter().product::<usize>();
    let fits = !shapes.has(Rescale) || Some(&many) == weight.first();
    if fits { Ok(()) } else { Err(misfit(shapes, Rescale, weight)) }
}

/// Each output's factor at a strength.
pub(super) fn gains(values: &Values, strength: f64) -> impl Fn(usize) -> f64 + Sync {
    let rescale = values.get(&Rescale).map(|rescale| &rescale.values);
    move |at| rescale.map_or(1.0, |rescale| 1.0 + strength * (f64::from(rescale[at]) - 1.0))
}

/// The rotations of blocks `[…, n, n]`, or their inverses.
pub(super) fn rotations(blocks: &Array, alpha: Option<f64>, outputs: usize, inverse: bool) -> Vec<Vec<f64>> {
    let n = blocks.shape.last().copied().unwrap_or(1);
    let skew = |block: &[f32]| -> Vec<f64> {
        let at = |r: usize, c: usize| f64::from(block[r * n + c]);
        (0..n * n).map(|i| at(i / n, i % n) - at(i % n, i / n)).collect()
    };
    let skewed: Vec<Vec<f64>> = blocks.values.chunks(n * n).map(skew).collect();
    let norm = skewed.iter().flatten().map(|v| v * v).sum::<f64>().sqrt() + 1e-8;
    let most = alpha.filter(|alpha| *alpha > 0.0).map(|alpha| alpha * outputs as f64);
    let by =
        most.filter(|most| norm > *most).map_or(1.0, |most| most / norm) * if inverse { -1.0 } else { 1.0 };
    let turn = |q: &Vec<f64>| cayley(&q.iter().map(|v| by * v).collect::<Vec<_>>(), n);
    skewed.par_iter().map(turn).collect()
}

fn flipped(block: &[f32]) -> Vec<f64> {
    let n = block.len().isqrt();
    (0..n * n).map(|i| f64::from(block[i % n * n + i / n])).collect()
}
