//! (IA)³.

use super::algebra::Weight;
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit};
use Piece::{Gains, OnInput};

/// `W · (1 + m · gains)`, a gain for each output, or for each input where `on_input` is 1 (Liu et al. 2022, arXiv:2205.05638;
/// LyCORIS' `modules/ia3.py`).
pub(super) struct Ia3;

impl Kind for Ia3 {
    fn name(&self) -> &'static str {
        "(IA)³"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Gains, OnInput]
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let gains: usize = shapes.of(Gains).iter().product();
        let fits = weight.len() > 1 && weight[..2].contains(&gains);
        if fits { Ok(()) } else { Err(misfit(shapes, Gains, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, _factor: Option<f64>, strength: f64) {
        let gains = &values[&Gains].values;
        // Their number tells as well, but for a square.
        let on_input = match [weight.rows(), weight.inputs()].map(|n| n == gains.len()) {
            [true, true] => values[&OnInput].values.first().is_some_and(|v| *v != 0.0),
            [_, inputs] => inputs,
        };
        let taps = weight.columns() / weight.inputs().max(1);
        weight.add(strength, |at, row, sum| {
            for (i, (sum, w)) in sum.iter_mut().zip(row).enumerate() {
                let gain = gains.get(if on_input { i / taps } else { at });
                *sum = f64::from(*w) * f64::from(*gain.unwrap_or(&0.0));
            }
        });
    }
}
