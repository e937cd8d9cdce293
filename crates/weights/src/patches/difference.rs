//! Full differences, of weights and biases.

use super::algebra::Weight;
use super::kind::{Kind, Piece, Shapes, Target, Values, Wrong, misfit};

/// `W + m · difference`, of the weight's own shape (LyCORIS' `modules/full.py`).
pub(super) struct Difference {
    pub name: &'static str,
    pub pieces: &'static [Piece],
    pub target: Target,
}

/// Of a weight.
pub(super) const FULL: Difference =
    Difference { name: "full difference", pieces: &[Piece::Difference], target: Target::Weight };

/// Of a bias, beside any other kind.
pub(super) const BIAS: Difference =
    Difference { name: "bias", pieces: &[Piece::BiasDifference], target: Target::Bias };

impl Kind for Difference {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pieces(&self) -> &'static [Piece] {
        self.pieces
    }

    fn target(&self) -> Target {
        self.target
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let shape = shapes.of(self.pieces[0]);
        // Linear layers and 1×1 convolutions are written as each other.
        let same = |a: &[usize], b: &[usize]| a.iter().filter(|n| **n != 1).eq(b.iter().filter(|n| **n != 1));
        if same(shape, weight) { Ok(()) } else { Err(misfit(shapes, self.pieces[0], weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, _factor: Option<f64>, strength: f64) {
        let difference = &values[&self.pieces[0]].values;
        weight.add(strength, |at, row, sum| {
            let difference = &difference[at * row.len()..];
            sum.iter_mut().zip(difference).for_each(|(sum, v)| *sum = f64::from(*v));
        });
    }
}

/// `b + m · alpha/rank · bias`: PEFT's bias of `up` (`lora_bias`), which is scaled as the product is.
pub(super) struct UpBias;

impl Kind for UpBias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Piece::UpBias]
    }

    fn target(&self) -> Target {
        Target::Bias
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(Piece::Down).first().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        if shapes.of(Piece::UpBias) == weight { Ok(()) } else { Err(misfit(shapes, Piece::UpBias, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let bias = &values[&Piece::UpBias].values;
        weight.add(strength * factor.unwrap_or(1.0), |at, _, sum| sum[0] = f64::from(bias[at]));
    }
}
