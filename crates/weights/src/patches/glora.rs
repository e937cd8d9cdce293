//! GLoRA.

use super::algebra::{Product, Weight, add_scaled, matrix};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit, same_rank};
use super::tucker::transposed;
use Piece::{A1, A2, B1, B2, BMid};

/// `ΔW = alpha/rank · (W·a1·a2 + b1·b2)`: `a1` `[in, rank]`, `a2` `[rank, in]`, `b1` `[out, rank]`, `b2` `[rank, in, …]`, `W`'s
/// inputs being what `a` mixes (Chavan et al. 2023, arXiv:2306.07967; LyCORIS' `modules/glora.py`). Its first version had
/// the halves the other way round, `W·a2·a1 + b2·b1`, which shapes tell (ComfyUI's `weight_adapter/glora.py`).
pub(super) struct Glora;

impl Glora {
    /// What comes first in each product, and what follows it.
    fn order(b1: &[usize], weight: &[usize], rank: Option<usize>) -> [[Piece; 2]; 2] {
        let today = b1.first() == weight.first() && b1.get(1).copied() == rank;
        if today { [[A1, A2], [B1, B2]] } else { [[A2, A1], [B2, B1]] }
    }
}

impl Kind for Glora {
    fn name(&self) -> &'static str {
        "GLoRA"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[A1, A2, B1, B2, BMid]
    }

    fn lacks(&self, shapes: &Shapes) -> Option<Piece> {
        self.pieces()[..4].iter().copied().find(|piece| !shapes.has(*piece))
    }

    /// The shorter side of `a1`, whichever way it lies.
    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(A1).iter().take(2).min().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let [[a, to_a], [b, to_b]] = Self::order(shapes.of(B1), weight, self.rank(shapes));
        same_rank(shapes, (to_a, 0), (a, 1))?;
        let [rows, columns] = matrix(weight);
        let inputs = weight.get(1).copied().unwrap_or(1);
        let fits_a = shapes.matrix(a)[0] == inputs && shapes.matrix(to_a)[1] == inputs;
        let fits_b = if shapes.has(BMid) {
            same_rank(shapes, (to_b, 0), (BMid, 1))?;
            same_rank(shapes, (BMid, 0), (b, 1))?;
            shapes.matrix(to_b)[1] == inputs && shapes.of(BMid).get(2..) == weight.get(2..)
        } else {
            same_rank(shapes, (to_b, 0), (b, 1))?;
            shapes.matrix(to_b)[1] == columns
        };
        let fits = fits_a && fits_b && shapes.matrix(b)[0] == rows;
        if fits { Ok(()) } else { Err(misfit(shapes, B1, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let rank = values[&A1].shape.iter().take(2).min().copied();
        let [[a, to_a], [b, to_b]] =
            Self::order(&values[&B1].shape, weight.shape, rank).map(|pair| pair.map(|piece| &values[&piece]));
        let added = match values.get(&BMid) {
            Some(core) => Product::tucker(core, &transposed(b), to_b),
            None => Product::new(b, to_b),
        };
        let inputs = weight.inputs();
        let mix = Product::new(a, to_a).all(inputs);
        weight.add(strength * factor.unwrap_or(1.0), |at, row, sum| {
            added.row(at, sum);
            mixed(row, &mix, inputs, sum);
        });
    }
}

/// Adds a row of `W` times a matrix over its inputs, tap by tap.
fn mixed(row: &[f32], mix: &[f64], inputs: usize, sum: &mut [f64]) {
    let taps = row.len() / inputs;
    for (w, mix) in row.chunks(taps).zip(mix.chunks(inputs)) {
        for (mix, sum) in mix.iter().zip(sum.chunks_mut(taps)) {
            add_scaled(sum, *mix, w.iter().map(|v| f64::from(*v)));
        }
    }
}
