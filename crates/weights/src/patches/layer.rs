//! A layer's change, as a file has it.

use super::kind::{Kind, Piece, Shapes, Target};
use super::{
    boft, difference, dora, embedding, factors, glora, hadamard, ia3, inputs, kronecker, low_rank, norms,
    oft, tucker,
};
use std::collections::BTreeMap;

/// Every kind of change. A layer may have several.
const KINDS: [&dyn Kind; 18] = [
    &low_rank::LowRank,
    &tucker::Tucker,
    &hadamard::Hadamard,
    &kronecker::Kronecker,
    &ia3::Ia3,
    &difference::FULL,
    &norms::WEIGHT,
    &glora::Glora,
    &oft::Oft,
    &boft::Boft,
    &factors::WEIGHT,
    &inputs::Oft,
    &inputs::Boft,
    &embedding::Embedding,
    &difference::BIAS,
    &difference::UpBias,
    &norms::BIAS,
    &factors::BIAS,
];

/// The change of one layer.
pub(crate) struct Layer {
    /// The model's component, by its folder.
    pub component: &'static str,
    /// The layer's path in it, where it may have underscores for dots, and be the original layout's.
    pub path: String,
    /// The naming scheme.
    pub scheme: &'static str,
    /// Its tensors' names.
    pub tensors: BTreeMap<Piece, String>,
    pub shapes: Shapes,
}

impl Layer {
    /// The kinds of change that its tensors make.
    pub fn kinds(&self) -> impl Iterator<Item = &'static dyn Kind> {
        KINDS.into_iter().filter(|kind| kind.tells(&self.shapes))
    }

    /// Those that make one of a tensor.
    pub fn kinds_of(&self, target: Target) -> impl Iterator<Item = &'static dyn Kind> {
        self.kinds().filter(move |kind| kind.target() == target)
    }

    /// Whether its weights have lengths of their own.
    pub fn has_dora(&self) -> bool {
        dora::told(&self.shapes).is_some()
    }

    /// A tensor of a kind, the first that is there.
    pub fn tensor(&self, kind: &dyn Kind) -> &str {
        kind.pieces().iter().find_map(|piece| self.tensors.get(piece)).map_or("", String::as_str)
    }

    /// The path with underscores.
    pub fn key(&self) -> String {
        self.path.replace('.', "_")
    }
}
