//! Keras' files of Stable Diffusion's weights: KerasCV's four (`keras_cv/models/stable_diffusion`) and divamgupta's
//! (stable-diffusion-tensorflow). Their layers are called by counters, so that what a weight is follows from the order in
//! which a file lists them, and from their shapes. A dense layer has `[in, out]`, a convolution `[height, width, in, out]`.

mod order;

use crate::files::Arrangement;
use crate::{Checkpoint, Error, Result};
use order::Axes;
use std::collections::BTreeMap;

/// What Keras calls the list of a model's layers, and a layer's list of its weights.
const LISTS: [&str; 2] = ["layer_names", "weight_names"];
/// Where a file of a whole model has its weights.
const ROOTS: [&str; 2] = ["", "model_weights"];

/// A weight: where it lies in the file, and its axes.
struct Weight {
    path: String,
    shape: Vec<usize>,
}

/// A file's tensors under the names and with the axes of the model's original code, where it is one of Keras'; any other
/// file as it is.
///
/// # Errors
/// Weights that do not follow each other as in any component of Stable Diffusion.
pub fn originals(checkpoint: Checkpoint, place: &str) -> Result<Checkpoint> {
    let wrong = |why: String| Error::NoKerasModel { place: place.into(), why };
    let Some(weights) = weights(&checkpoint).map_err(wrong)? else { return Ok(checkpoint) };
    let shapes: Vec<&[usize]> = weights.iter().map(|weight| &weight.shape[..]).collect();
    let named = order::named(&shapes).map_err(|at| match weights.get(at) {
        Some(Weight { path, shape }) => {
            let (at, all) = (at + 1, weights.len());
            wrong(format!(
                "weight {at} of {all}, {path} of shape {shape:?}, is none that stands there in one"
            ))
        }
        None => wrong(format!("it ends after {} weights, where more follow in one", weights.len())),
    })?;
    let named: BTreeMap<&str, (String, Axes)> =
        named.into_iter().map(|(at, name, axes)| (&weights[at].path[..], (name, axes))).collect();
    let chunked = std::cell::Cell::new(None);
    let tensors = checkpoint.relabelled(|mut entry| {
        let (name, axes) = named.get(&entry.name[..])?;
        if *axes != Axes::Same {
            match entry.arrangement {
                Arrangement::Dense => turn(&mut entry.shape, &mut entry.arrangement, *axes),
                _ => chunked.set(Some(name.clone())),
            }
        }
        entry.name.clone_from(name);
        Some(entry)
    });
    match chunked.take() {
        Some(name) => Err(wrong(format!("{name} lies in chunks, which Keras does not write"))),
        None => Ok(tensors),
    }
}

/// Puts a dense tensor's axes into torch's order.
fn turn(shape: &mut Vec<usize>, arrangement: &mut Arrangement, axes: Axes) {
    let order: &[usize] = match (axes, shape.len()) {
        (Axes::Outwards, 2) => &[1, 0],
        (Axes::Outwards, 4) => &[3, 2, 0, 1],
        _ => return,
    };
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>() as u64;
    // Of an empty one there is nothing to turn.
    if !shape.contains(&0) {
        *arrangement = Arrangement::Strided(order.iter().map(|axis| stride(*axis)).collect());
    }
    *shape = order.iter().map(|axis| shape[*axis]).collect();
}

/// All weights in the file's order; none where it is not Keras'.
fn weights(checkpoint: &Checkpoint) -> Result<Option<Vec<Weight>>, String> {
    use calotype_tensor::Tensors;
    let said = checkpoint.said();
    let list = |group: &str, list: &str| -> Option<Vec<String>> {
        let key = if group.is_empty() { list.into() } else { format!("{group}@{list}") };
        serde_json::from_str(said.get(&key)?).ok()
    };
    let [layers, weights] = LISTS;
    let Some((root, layers)) = ROOTS.iter().find_map(|root| Some((*root, list(root, layers)?))) else {
        return Ok(None);
    };
    let within =
        |group: &str, name: &str| if group.is_empty() { name.into() } else { format!("{group}/{name}") };
    let mut all = Vec::new();
    for layer in layers {
        let group = within(root, &layer);
        for weight in list(&group, weights).unwrap_or_default() {
            let path = within(&group, &weight);
            let info = checkpoint.get(&path).map_err(|error| error.to_string())?;
            all.push(Weight { shape: info.shape.clone(), path });
        }
    }
    Ok(Some(all))
}
