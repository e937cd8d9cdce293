//! LoKr.

use super::algebra::{Array, Product, Weight, add_scaled, matrix};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit, same_rank};
use Piece::{Kronecker1, Kronecker2, KroneckerA1, KroneckerA2, KroneckerB1, KroneckerB2, KroneckerT2};

/// `ΔW = alpha/rank · w1 ⊗ w2`: each factor is whole or a product, the second also in Tucker's form with a kernel. The rank is
/// the second factor's, or else the first's; where both are whole alpha says nothing (Yeh et al. 2024, arXiv:2309.14859;
/// LyCORIS' `functional/lokr.py`, ComfyUI's `weight_adapter/lokr.py`).
pub(super) struct Kronecker;

impl Kind for Kronecker {
    fn name(&self) -> &'static str {
        "LoKr"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Kronecker1, KroneckerA1, KroneckerB1, Kronecker2, KroneckerA2, KroneckerB2, KroneckerT2]
    }

    fn lacks(&self, shapes: &Shapes) -> Option<Piece> {
        let factors = [[Kronecker1, KroneckerA1, KroneckerB1], [Kronecker2, KroneckerA2, KroneckerB2]];
        let lacks = |[whole, a, b]: [Piece; 3]| match [whole, a, b].map(|piece| shapes.has(piece)) {
            [true, ..] | [_, true, true] => None,
            [_, true, false] => Some(b),
            [_, false, true] => Some(a),
            _ => Some(whole),
        };
        factors.into_iter().find_map(lacks)
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        let products = [(Kronecker2, KroneckerB2), (Kronecker1, KroneckerB1)];
        let product = products.into_iter().find(|(whole, _)| !shapes.has(*whole));
        product.and_then(|(_, b)| shapes.of(b).first().copied())
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let plain = |whole: Piece, a: Piece, b: Piece| {
            if shapes.has(whole) {
                return Ok(shapes.matrix(whole));
            }
            let rank = same_rank(shapes, (b, 0), (a, 1))?;
            match shapes.matrix(a) {
                [rows, ranks] if ranks == rank => Ok([rows, shapes.matrix(b)[1]]),
                _ => Err(misfit(shapes, a, weight)),
            }
        };
        let one = plain(Kronecker1, KroneckerA1, KroneckerB1)?;
        let other = if shapes.has(KroneckerT2) && !shapes.has(Kronecker2) {
            same_rank(shapes, (KroneckerA2, 0), (KroneckerT2, 0))?;
            same_rank(shapes, (KroneckerB2, 0), (KroneckerT2, 1))?;
            let [out, inputs] = [KroneckerA2, KroneckerB2].map(|piece| shapes.matrix(piece)[1]);
            let kernel = shapes.of(KroneckerT2).get(2..).unwrap_or_default();
            if weight.get(2..) != Some(kernel) {
                return Err(misfit(shapes, KroneckerT2, weight));
            }
            [out, inputs * kernel.iter().product::<usize>()]
        } else {
            plain(Kronecker2, KroneckerA2, KroneckerB2)?
        };
        let [rows, columns] = [0, 1].map(|axis| one[axis].checked_mul(other[axis]));
        let fits = [rows, columns] == matrix(weight).map(Some) && !one.contains(&0) && !other.contains(&0);
        let piece = if shapes.has(Kronecker1) { Kronecker1 } else { KroneckerA1 };
        let why = format!("makes {one:?} times {other:?}, which does not fit a weight of shape {weight:?}");
        if fits { Ok(()) } else { Err(Wrong::Shape(piece, why)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let product = |a: &Array, b: &Array| (a.rows(), Product::new(a, b).all(a.rows()));
        let (rows, one) = match values.get(&Kronecker1) {
            Some(whole) => (whole.rows(), whole.to_f64()),
            None => product(&values[&KroneckerA1], &values[&KroneckerB1]),
        };
        let (height, other) = match (values.get(&Kronecker2), values.get(&KroneckerT2)) {
            (Some(whole), _) => (whole.rows(), whole.to_f64()),
            (None, None) => product(&values[&KroneckerA2], &values[&KroneckerB2]),
            (None, Some(core)) => {
                let [a, b] = [KroneckerA2, KroneckerB2].map(|piece| &values[&piece]);
                (a.columns(), Product::tucker(core, a, b).all(a.columns()))
            }
        };
        let (width, columns) = (other.len() / height, one.len() / rows);
        weight.add(strength * factor.unwrap_or(1.0), |at, _, sum| {
            sum.fill(0.0);
            let other = &other[at % height * width..][..width];
            for (by, sum) in one[at / height * columns..][..columns].iter().zip(sum.chunks_mut(width)) {
                add_scaled(sum, *by, other.iter().copied());
            }
        });
    }
}
