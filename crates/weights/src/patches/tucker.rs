//! LoCon in Tucker's form.

use super::algebra::{Array, Product, Weight};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit, same_rank};
use Piece::{Down, Mid, Up};

/// A middle kernel between 1×1 convolutions: `ΔW[o, i, …] = alpha/rank · Σ up[o, a] · mid[a, b, …] · down[b, i]`, with `mid`
/// `[rank, rank, kh, kw]` (LyCORIS' `tucker_weight_from_conv`).
pub(super) struct Tucker;

impl Kind for Tucker {
    fn name(&self) -> &'static str {
        "LoCon in Tucker's form"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Mid, Down, Up]
    }

    fn tells(&self, shapes: &Shapes) -> bool {
        shapes.has(Mid)
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(Down).first().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        same_rank(shapes, (Down, 0), (Mid, 1))?;
        let rank = same_rank(shapes, (Mid, 0), (Up, 1))?;
        let ([out, ranks], [_, inputs]) = (shapes.matrix(Up), shapes.matrix(Down));
        let fits =
            weight.len() > 2 && [out, inputs] == weight[..2] && shapes.of(Mid).get(2..) == weight.get(2..);
        if fits && ranks == rank { Ok(()) } else { Err(misfit(shapes, Mid, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let product = Product::tucker(&values[&Mid], &transposed(&values[&Up]), &values[&Down]);
        weight.add(strength * factor.unwrap_or(1.0), |at, _, sum| product.row(at, sum));
    }
}

/// A matrix with its axes changed over.
pub(super) fn transposed(a: &Array) -> Array {
    let (rows, columns) = (a.rows(), a.columns());
    let values = (0..columns).flat_map(|c| (0..rows).map(move |r| a.values[r * columns + c])).collect();
    Array { shape: vec![columns, rows], values }
}
