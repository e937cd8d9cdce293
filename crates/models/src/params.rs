//! What a graph takes from a checkpoint, counted and declared.

use crate::Source;
use calotype_graph::{Graph, Tensor};
use calotype_tensor::DType;
use calotype_weights::{Declared, Error, Init, WeightSource};
use std::collections::BTreeSet;

/// The tensors that a checkpoint has to hold.
fn tensors(graph: &Graph) -> impl Iterator<Item = &Tensor> {
    let stored = graph.weights().iter().filter(|weight| weight.constant.is_none());
    stored.flat_map(|weight| &weight.tensors)
}

/// How many numbers a graph takes from a checkpoint.
pub fn params(graph: &Graph) -> usize {
    tensors(graph).map(|tensor| tensor.shape.numel()).sum()
}

/// The tensors of a checkpoint that a graph does not take, by the checkpoint's own names.
pub fn unused<'a>(graph: &Graph, checkpoint: &'a dyn WeightSource) -> Vec<&'a str> {
    let aliased = Source::new(checkpoint);
    let mut left: BTreeSet<&str> = checkpoint.names().into_iter().collect();
    for name in tensors(graph).flat_map(|tensor| &tensor.names) {
        match aliased.stored(name) {
            Ok(info) => left.remove(&info.name[..]),
            // What cannot be read is taken nonetheless, and refused.
            Err(Error::UnsupportedDtype { tensor, .. }) => left.remove(&tensor[..]),
            Err(_) => false,
        };
    }
    left.into_iter().collect()
}

/// A graph's tensors as a [`calotype_weights::Synthetic`] source makes them: f16, drawn so that activations stay
/// realistic.
pub fn declare(graph: &Graph) -> Vec<Declared> {
    tensors(graph)
        .map(|tensor| {
            let (name, shape) = (tensor.names[0].clone(), tensor.shape.dims().to_vec());
            let init = Init::usual(&name, &shape);
            Declared { name, dtype: DType::F16, shape, init }
        })
        .collect()
}
