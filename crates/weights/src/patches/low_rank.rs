//! LoRA, and LoCon, which is the same of convolutions.

use super::algebra::{Weight, matrix};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, same_rank};
use Piece::{Down, Mid, Up};
use calotype_tensor::parallel::prelude::*;

/// `W + m · alpha/rank · up · down`: `down` `[rank, in]`, or a kernel `[rank, in, kh, kw]`, `up` `[out, rank]`, or
/// `[out, rank, 1, 1]` (Hu et al. 2021, arXiv:2106.09685; LyCORIS' `LoConModule`).
pub(super) struct LowRank;

impl Kind for LowRank {
    fn name(&self) -> &'static str {
        "LoRA"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Down, Up]
    }

    fn tells(&self, shapes: &Shapes) -> bool {
        !shapes.has(Mid) && (shapes.has(Down) || shapes.has(Up))
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(Down).first().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let rank = same_rank(shapes, (Down, 0), (Up, 1))?;
        let ([rows, columns], [out, ranks]) = (matrix(weight), shapes.matrix(Up));
        match out == rows && ranks == rank && shapes.matrix(Down)[1] == columns {
            true => Ok(()),
            false => {
                let [down, up] = [shapes.of(Down), shapes.of(Up)];
                let why =
                    format!("of shape {down:?}, times {up:?}, does not fit a weight of shape {weight:?}");
                Err(Wrong::Shape(Down, why))
            }
        }
    }

    /// In f32, of which a rank's sum loses little: this is what most files are, and the largest of all sums.
    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let [down, up] = [&values[&Down].values, &values[&Up].values];
        let (columns, rank) = (weight.columns(), values[&Down].rows());
        let factor = strength * factor.unwrap_or(1.0);
        let rows = weight.values.par_chunks_mut(columns).zip(up.par_chunks(rank));
        rows.for_each_init(
            || vec![0f32; columns],
            |sum, (w, up)| {
                sum.fill(0.0);
                for (up, down) in up.iter().zip(down.chunks(columns)) {
                    sum.iter_mut().zip(down).for_each(|(sum, v)| *sum += up * v);
                }
                for (w, sum) in w.iter_mut().zip(&*sum) {
                    *w = (f64::from(*w) + factor * f64::from(*sum)) as f32;
                }
            },
        );
    }
}
