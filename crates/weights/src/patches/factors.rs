//! (IA)³ as PEFT has it.

use super::algebra::Weight;
use super::kind::{Kind, Piece, Shapes, Target, Values, Wrong, misfit};
use Piece::{Factors, InputFactors};

/// `W · (1 + m · (l − 1))`: a factor for each output, and then for its bias too, or one for each input. Those of linear layers
/// tell which they are of by their shape, `[out, 1]` or `[1, in]`; those of convolutions, `[1, n, 1, 1]`, are of inputs where the
/// layer is one of `feedforward_modules` (Liu et al. 2022, arXiv:2205.05638; PEFT's `tuners/ia3/layer.py`).
pub(super) struct ByFactors(Target);

pub(super) const WEIGHT: ByFactors = ByFactors(Target::Weight);
pub(super) const BIAS: ByFactors = ByFactors(Target::Bias);

/// Which of the two a layer has.
fn told(shapes: &Shapes) -> Piece {
    if shapes.has(InputFactors) { InputFactors } else { Factors }
}

fn of_inputs(piece: Piece, shape: &[usize]) -> bool {
    piece == InputFactors || matches!(shape, [1, _])
}

impl Kind for ByFactors {
    fn name(&self) -> &'static str {
        "(IA)³"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Factors, InputFactors]
    }

    fn tells(&self, shapes: &Shapes) -> bool {
        let there = self.pieces().iter().any(|piece| shapes.has(*piece));
        there && (self.0 == Target::Weight || !of_inputs(told(shapes), shapes.of(told(shapes))))
    }

    fn target(&self) -> Target {
        self.0
    }

    fn optional(&self) -> bool {
        self.0 == Target::Bias
    }

    fn lacks(&self, _shapes: &Shapes) -> Option<Piece> {
        None
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let piece = told(shapes);
        let many: usize = shapes.of(piece).iter().product();
        let axis = usize::from(of_inputs(piece, shapes.of(piece)));
        if weight.get(axis) == Some(&many) { Ok(()) } else { Err(misfit(shapes, piece, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, _factor: Option<f64>, strength: f64) {
        let found = self.pieces().iter().find_map(|piece| Some((*piece, values.get(piece)?)));
        let Some((piece, factors)) = found else { return };
        let (inputs, taps) = (of_inputs(piece, &factors.shape), weight.columns() / weight.inputs().max(1));
        weight.add(strength, |at, row, sum| {
            for (i, (sum, w)) in sum.iter_mut().zip(row).enumerate() {
                let factor = factors.values[if inputs { i / taps } else { at }];
                *sum = f64::from(*w) * (f64::from(factor) - 1.0);
            }
        });
    }
}
