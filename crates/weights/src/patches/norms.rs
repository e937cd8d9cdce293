//! Norms: differences of their weights and biases (LyCORIS' `modules/norms.py`).

use super::difference::Difference;
use super::kind::{Piece, Target};

pub(super) const WEIGHT: Difference =
    Difference { name: "norms", pieces: &[Piece::NormWeight], target: Target::Weight };

pub(super) const BIAS: Difference =
    Difference { name: "norms", pieces: &[Piece::NormBias], target: Target::Bias };
