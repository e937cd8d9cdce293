//! DoRA: what any kind makes of a weight, brought to a length of its own.

use super::algebra::{Array, Weight};
use super::kind::{Piece, Shapes, Values, Wrong, misfit};
use Piece::{Magnitudes, OutputMagnitudes};
use calotype_tensor::parallel::prelude::*;

/// Who wrote the magnitudes, and so what they are of.
struct Convention {
    /// The weights of each output have a length, or else those of each input.
    outputs: bool,
    /// What is added to a length, lest nothing be divided by nothing.
    least: f64,
}

impl Convention {
    /// PEFT's are of outputs, in any shape. LyCORIS' are `[out, 1, …]` today, and `[1, in, …]` in its first versions and
    /// OneTrainer's (LyCORIS' `functional/general.py`, PEFT's `tuners/lora/dora.py`).
    fn of(by_peft: bool, magnitudes: &[usize], weight: &[usize]) -> Option<Self> {
        let many: usize = magnitudes.iter().product();
        let [out, inputs] = [weight.first()?, weight.get(1)?];
        match (by_peft, magnitudes.first()) {
            (true, _) => (many == *out).then_some(Self { outputs: true, least: f64::MIN_POSITIVE }),
            (false, Some(first)) if first == out && many == *out => {
                Some(Self { outputs: true, least: f64::from(f32::EPSILON) })
            }
            _ => (many == *inputs).then_some(Self { outputs: false, least: f64::from(f32::EPSILON) }),
        }
    }
}

/// Which of the two a layer has.
pub(super) fn told(shapes: &Shapes) -> Option<Piece> {
    [OutputMagnitudes, Magnitudes].into_iter().find(|piece| shapes.has(*piece))
}

/// Whether its magnitudes fit a weight.
pub(super) fn check(shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
    let Some(piece) = told(shapes) else { return Ok(()) };
    let convention = Convention::of(piece == OutputMagnitudes, shapes.of(piece), weight);
    convention.map(drop).ok_or_else(|| misfit(shapes, piece, weight))
}

/// `W + m · (s · V/‖V‖ − W)`, `V` being what another kind makes of `W` at full strength: a share of the whole change, as
/// ComfyUI and A1111 take it (Liu et al. 2024, arXiv:2402.09353). Where several are laid over a weight, each takes what those
/// before it have made for its `W`.
pub(super) fn decompose(
    weight: &mut Weight,
    values: &Values,
    strength: f64,
    change: impl FnOnce(&mut Weight, f64),
) {
    let found = [(OutputMagnitudes, true), (Magnitudes, false)];
    let found = found.into_iter().find_map(|(piece, peft)| Some((values.get(&piece)?, peft)));
    let Some((magnitudes, peft)) = found else { return change(weight, strength) };
    let Some(convention) = Convention::of(peft, &magnitudes.shape, weight.shape) else { return };
    let before = weight.values.to_vec();
    change(weight, 1.0);
    let gains = gains(weight, magnitudes, &convention);
    let (columns, inputs) = (weight.columns(), weight.inputs());
    let taps = columns / inputs;
    let rows = weight.values.par_chunks_mut(columns).zip(before.par_chunks(columns)).enumerate();
    rows.for_each(|(out, (row, before))| {
        for (i, (w, before)) in row.iter_mut().zip(before).enumerate() {
            let gain = gains[if convention.outputs { out } else { i / taps }];
            let before = f64::from(*before);
            *w = (before + strength * (f64::from(*w) * gain - before)) as f32;
        }
    });
}

/// What the weights of each output or input are multiplied with.
fn gains(weight: &Weight, magnitudes: &Array, convention: &Convention) -> Vec<f64> {
    let (columns, taps) = (weight.columns(), weight.columns() / weight.inputs());
    let square = |w: &f32| f64::from(*w).powi(2);
    let squares: Vec<f64> = if convention.outputs {
        weight.values.par_chunks(columns).map(|row| row.iter().map(square).sum()).collect()
    } else {
        let mut squares = vec![0.0; magnitudes.values.len()];
        for row in weight.values.chunks(columns) {
            row.iter().enumerate().for_each(|(i, w)| squares[i / taps] += square(w));
        }
        squares
    };
    let gain = |(square, s): (f64, &f32)| f64::from(*s) / (square.sqrt() + convention.least);
    squares.into_iter().zip(&magnitudes.values).map(gain).collect()
}
