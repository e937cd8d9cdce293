//! What a graph takes from a checkpoint, counted and declared.

use crate::in_graphs;
use calotype_graph::Graph;
use calotype_tensor::{DType, Error, Tensors};
use calotype_weights::{Declared, Init};
use std::collections::BTreeSet;

/// How many numbers a graph takes from a checkpoint.
pub fn params(graph: &Graph) -> usize {
    graph.tensors().map(|tensor| tensor.shape.numel()).sum()
}

/// The tensors of a checkpoint that a graph does not take, by the checkpoint's own names.
pub fn unused<'a>(graph: &Graph, checkpoint: &'a dyn Tensors) -> Vec<&'a str> {
    let aliased = in_graphs(checkpoint);
    let mut left: BTreeSet<&str> = checkpoint.names().into_iter().collect();
    for name in graph.tensors().flat_map(|tensor| &tensor.names) {
        match aliased.get(name) {
            Ok(info) => left.remove(&info.name[..]),
            // What cannot be read is taken nonetheless, and refused.
            Err(Error::Unsupported { tensor, .. }) => left.remove(&tensor[..]),
            Err(_) => false,
        };
    }
    left.into_iter().collect()
}

/// A graph's tensors as a [`calotype_weights::Synthetic`] source makes them: f16, drawn so that activations stay
/// realistic.
pub fn declare(graph: &Graph) -> Vec<Declared> {
    graph
        .tensors()
        .map(|tensor| {
            let (name, shape) = (tensor.names[0].clone(), tensor.shape.dims().to_vec());
            let init = Init::usual(&name, &shape);
            Declared { name, dtype: DType::F16, shape, init }
        })
        .collect()
}
