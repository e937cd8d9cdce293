//! LoHa.

use super::algebra::{Product, Weight, matrix};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit, same_rank};
use Piece::{HadamardA1, HadamardA2, HadamardB1, HadamardB2, HadamardT1, HadamardT2};

/// `ΔW = alpha/rank · (a1·b1) ∘ (a2·b2)`: `a` `[out, rank]`, `b` `[rank, in]` or `[rank, in·kh·kw]`. In Tucker's form, which
/// has kernels `t` `[rank, rank, kh, kw]`, `a` lies the other way, `[rank, out]` (Hyeon-Woo et al. 2022, arXiv:2108.06098;
/// LyCORIS' `functional/loha.py`, whose module takes alpha/rank twice where it forms differences, and once where it runs).
pub(super) struct Hadamard;

/// `a`, `b` and `t` of either factor.
const FACTORS: [[Piece; 3]; 2] = [[HadamardA1, HadamardB1, HadamardT1], [HadamardA2, HadamardB2, HadamardT2]];

impl Kind for Hadamard {
    fn name(&self) -> &'static str {
        "LoHa"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[HadamardB1, HadamardA1, HadamardB2, HadamardA2, HadamardT1, HadamardT2]
    }

    fn lacks(&self, shapes: &Shapes) -> Option<Piece> {
        let tucker = shapes.has(HadamardT1) || shapes.has(HadamardT2);
        let needed = if tucker { self.pieces() } else { &self.pieces()[..4] };
        needed.iter().copied().find(|piece| !shapes.has(*piece))
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(HadamardB1).first().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        for [a, b, t] in FACTORS {
            let fits = if shapes.has(t) {
                same_rank(shapes, (a, 0), (t, 0))?;
                same_rank(shapes, (b, 0), (t, 1))?;
                let [out, inputs] = [a, b].map(|piece| shapes.matrix(piece)[1]);
                weight.len() > 2 && [out, inputs] == weight[..2] && shapes.of(t).get(2..) == weight.get(2..)
            } else {
                let rank = same_rank(shapes, (b, 0), (a, 1))?;
                shapes.matrix(a)[1] == rank && [shapes.matrix(a)[0], shapes.matrix(b)[1]] == matrix(weight)
            };
            if !fits {
                return Err(misfit(shapes, b, weight));
            }
        }
        Ok(())
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let [one, other] = FACTORS.map(|[a, b, t]| match values.get(&t) {
            Some(core) => Product::tucker(core, &values[&a], &values[&b]),
            None => Product::new(&values[&a], &values[&b]),
        });
        weight.add(strength * factor.unwrap_or(1.0), |at, _, sum| {
            one.row(at, sum);
            let mut by = vec![0.0; sum.len()];
            other.row(at, &mut by);
            sum.iter_mut().zip(by).for_each(|(sum, by)| *sum *= by);
        });
    }
}
