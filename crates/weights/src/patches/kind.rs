//! What every kind of change has in common.

use super::adapter::Adapter;
use super::algebra::{Array, Weight, matrix};
use std::collections::BTreeMap;
use std::ops::Index;

/// What a tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    Down,
    Up,
    Mid,
    UpBias,
    HadamardA1,
    HadamardB1,
    HadamardA2,
    HadamardB2,
    HadamardT1,
    HadamardT2,
    Kronecker1,
    KroneckerA1,
    KroneckerB1,
    Kronecker2,
    KroneckerA2,
    KroneckerB2,
    KroneckerT2,
    Gains,
    OnInput,
    Difference,
    BiasDifference,
    NormWeight,
    NormBias,
    A1,
    A2,
    B1,
    B2,
    BMid,
    Blocks,
    Rotations,
    Rescale,
    /// PEFT's factors of (IA)³, and those of layers that it calls feedforward.
    Factors,
    InputFactors,
    /// PEFT's rotations of inputs: the upper triangles, or whole blocks in stages.
    Triangles,
    Stages,
    /// The factor of each output beside stages.
    Lengths,
    EmbeddingDown,
    EmbeddingUp,
    /// LyCORIS' magnitudes of DoRA, whose shape says along which axis.
    Magnitudes,
    /// PEFT's, one for each output.
    OutputMagnitudes,
    Alpha,
    /// What stands in for alpha by rank.
    Scale,
}

/// Which of a layer's tensors is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Weight,
    Bias,
}

/// Why a layer's change cannot be made, with the tensor that is at fault.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Its tensors do not fit each other.
    Torn(Piece, String),
    /// They fit no weight of this shape.
    Shape(Piece, String),
}

/// The shapes of a layer's tensors.
#[derive(Default)]
pub(crate) struct Shapes(pub BTreeMap<Piece, Vec<usize>>);

impl Shapes {
    pub fn has(&self, piece: Piece) -> bool {
        self.0.contains_key(&piece)
    }

    /// A tensor's shape; of no axes where it is not there.
    pub fn of(&self, piece: Piece) -> &[usize] {
        self.0.get(&piece).map_or(&[], Vec::as_slice)
    }

    /// Its first axis, 1 where there is none, and all others.
    pub fn matrix(&self, piece: Piece) -> [usize; 2] {
        matrix(self.of(piece))
    }
}

/// A layer's tensors.
pub(crate) struct Values<'a> {
    pieces: BTreeMap<Piece, Array>,
    /// What PEFT says of its component's layers.
    pub adapter: &'a Adapter,
}

impl<'a> Values<'a> {
    pub fn new(adapter: &'a Adapter) -> Self {
        Self { pieces: BTreeMap::new(), adapter }
    }

    pub fn insert(&mut self, piece: Piece, array: Array) {
        self.pieces.insert(piece, array);
    }

    pub fn get(&self, piece: &Piece) -> Option<&Array> {
        self.pieces.get(piece)
    }
}

impl Index<&Piece> for Values<'_> {
    type Output = Array;

    fn index(&self, piece: &Piece) -> &Array {
        &self.pieces[piece]
    }
}

/// One way to change a layer: a file each, and a line in [`KINDS`](super::KINDS).
pub(crate) trait Kind: Sync {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// The tensors that it is made of; alpha and magnitudes may lie beside.
    fn pieces(&self) -> &'static [Piece];

    /// Whether a layer is changed so.
    fn tells(&self, shapes: &Shapes) -> bool {
        self.pieces().iter().any(|piece| shapes.has(*piece))
    }

    /// What it changes.
    fn target(&self) -> Target {
        Target::Weight
    }

    /// A tensor without which it is not whole.
    fn lacks(&self, shapes: &Shapes) -> Option<Piece> {
        self.pieces().iter().copied().find(|piece| !shapes.has(*piece))
    }

    /// Whether it comes with another kind's change, and layers may well lack what it would change: biases.
    fn optional(&self) -> bool {
        false
    }

    /// What alpha is divided by, where alpha is a scale.
    fn rank(&self, _shapes: &Shapes) -> Option<usize> {
        None
    }

    /// Whether alpha is a number of the kind's own, and no scale.
    fn plain_alpha(&self) -> bool {
        false
    }

    /// Whether its tensors fit each other, and a weight of this shape.
    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong>;

    /// Changes a weight. `factor` is alpha by rank, or alpha where it is [plain](Self::plain_alpha); at `strength` 0 nothing
    /// changes, at 1 all does.
    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64);
}

/// That a tensor has a shape which does not fit the weight's.
pub(super) fn misfit(shapes: &Shapes, piece: Piece, weight: &[usize]) -> Wrong {
    Wrong::Shape(piece, format!("of shape {:?} does not fit a weight of shape {weight:?}", shapes.of(piece)))
}

/// That two tensors should agree in a number, the rank.
pub(super) fn same_rank(shapes: &Shapes, one: (Piece, usize), other: (Piece, usize)) -> Result<usize, Wrong> {
    let rank = |(piece, axis): (Piece, usize)| shapes.of(piece).get(axis).copied().unwrap_or(0);
    let (shape, with) = (shapes.of(one.0), shapes.of(other.0));
    match (rank(one), rank(other)) {
        (0, _) => Err(Wrong::Torn(
            one.0,
            format!("has shape {shape:?}: it is empty; download it again, or leave it out"),
        )),
        (a, b) if a == b => Ok(a),
        (a, _) => Err(Wrong::Torn(
            one.0,
            format!("has rank {a} ({shape:?}), and its other half another ({with:?})"),
        )),
    }
}
