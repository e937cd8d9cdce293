//! Which of a model's tensors the layers of a file change.

use super::algebra::Weight;
use super::kind::{Kind, Target, Wrong};
use super::layer::Layer;
use super::schemes::UNET;
use super::{Lora, dora};
use crate::Result;
use crate::schemes::unet::Blocks;
use calotype_tensor::Tensors;
use std::collections::{BTreeMap, BTreeSet};

/// A tensor with a layer's change of it.
pub(crate) struct Laid {
    /// The model's tensor.
    pub tensor: String,
    /// Which of the file's layers.
    pub layer: usize,
    pub kinds: Vec<&'static dyn Kind>,
    /// How many of the weight's inputs the change is of, where the weight has more.
    channels: Option<usize>,
}

/// A tensor of a file that changes nothing, with why.
pub(crate) struct Left {
    pub layer: usize,
    pub tensor: String,
    pub why: Why,
}

pub(crate) enum Why {
    /// The model has no such layer.
    NoLayer,
    /// It has one of another shape.
    Shape(String),
    /// Another name's tensors change it already.
    Twice,
}

#[derive(Default)]
pub(crate) struct Fit {
    pub laid: Vec<Laid>,
    pub left: Vec<Left>,
}

/// A component's modules by the paths that files may have for them, with underscores. Those of the original layout are
/// told apart.
struct Modules(BTreeMap<String, (String, bool)>);

impl Modules {
    fn of<'a>(component: &str, checkpoint: &'a dyn Tensors) -> Self {
        let names = checkpoint.names();
        let ends = [".weight", ".bias"];
        let module = |name: &&'a str| ends.iter().find_map(|end| name.strip_suffix(end));
        let paths: BTreeSet<&str> = names.iter().filter_map(module).collect();
        let blocks = Blocks::of_diffusers(paths.iter().copied());
        let mut modules = BTreeMap::new();
        for path in paths.iter().filter(|_| component == UNET) {
            if let Some(original) = blocks.original(&format!("{path}.")) {
                modules.insert(key(original.trim_end_matches('.')), ((*path).to_owned(), true));
            }
        }
        modules.extend(paths.iter().map(|path| (key(path), ((*path).to_owned(), false))));
        Self(modules)
    }
}

/// A module's path with underscores, and without what transformers up to version 4 puts before a text encoder's.
fn key(path: &str) -> String {
    let flat = path.replace('.', "_");
    flat.strip_prefix("text_model_").map_or(flat.clone(), str::to_owned)
}

impl Lora {
    /// Finds the tensors of a component that its layers change. Fails where a layer's own tensors do not fit each other.
    pub(crate) fn fit(&self, component: &str, checkpoint: &dyn Tensors) -> Result<Fit> {
        let modules = Modules::of(component, checkpoint);
        let (mut found, mut fit, mut taken) = (Vec::new(), Fit::default(), BTreeSet::new());
        for (at, layer) in self.layers.iter().enumerate().filter(|(_, layer)| layer.component == component) {
            match modules.0.get(&key(&layer.path)) {
                Some((module, original)) => found.push((*original, at, module)),
                None => fit.left.extend(left(at, layer, layer.kinds(), || Why::NoLayer)),
            }
        }
        // Where a file has a layer under both names, today's counts, as for diffusers.
        found.sort_unstable();
        for (_, at, module) in found {
            let layer = &self.layers[at];
            for (target, end) in [(Target::Weight, "weight"), (Target::Bias, "bias")] {
                let kinds: Vec<_> = layer.kinds_of(target).collect();
                let tensor = format!("{module}.{end}");
                if kinds.is_empty() {
                    continue;
                }
                let needed = || kinds.iter().copied().filter(|kind| !kind.optional());
                let Ok(info) = checkpoint.get(&tensor) else {
                    fit.left.extend(left(at, layer, needed(), || Why::NoLayer));
                    continue;
                };
                if !taken.insert(tensor.clone()) {
                    fit.left.extend(left(at, layer, kinds, || Why::Twice));
                    continue;
                }
                match channels(layer, &kinds, target, &info.shape) {
                    Ok(channels) => fit.laid.push(Laid { tensor, layer: at, kinds, channels }),
                    Err(Wrong::Torn(piece, why)) => return Err(self.wrong(&layer.tensors[&piece], why)),
                    Err(Wrong::Shape(..)) if needed().next().is_none() => {}
                    Err(Wrong::Shape(piece, why)) => {
                        let why = format!("{why} ({tensor})");
                        let tensor = layer.tensors[&piece].clone();
                        fit.left.push(Left { layer: at, tensor, why: Why::Shape(why) });
                    }
                }
            }
        }
        Ok(fit)
    }
}

/// A layer's tensors of some kinds.
fn left(
    at: usize,
    layer: &Layer,
    kinds: impl IntoIterator<Item = &'static dyn Kind>,
    why: impl Fn() -> Why,
) -> Vec<Left> {
    let pieces =
        kinds.into_iter().flat_map(|kind| kind.pieces()).filter_map(|piece| layer.tensors.get(piece));
    pieces.map(|tensor| Left { layer: at, tensor: tensor.clone(), why: why() }).collect()
}

/// How many inputs of a weight of this shape a layer changes, where not all: that of a plain model changes the first four of an
/// inpainting model's nine latent channels (as in ComfyUI).
fn channels(
    layer: &Layer,
    kinds: &[&'static dyn Kind],
    target: Target,
    shape: &[usize],
) -> Result<Option<usize>, Wrong> {
    let check = |shape: &[usize]| {
        kinds.iter().try_for_each(|kind| kind.check(&layer.shapes, shape))?;
        if target == Target::Weight { dora::check(&layer.shapes, shape) } else { Ok(()) }
    };
    let first = ["conv_in", "input_blocks_0_0"].contains(&&*layer.key());
    match check(shape) {
        Err(Wrong::Shape(..)) if first && shape.len() == 4 => {
            let fewer = (1..shape[1]).rev();
            let fits = |inputs: &usize| check(&[shape[0], *inputs, shape[2], shape[3]]).is_ok();
            fewer.into_iter().find(fits).map(Some).ok_or(()).or_else(|()| check(shape).map(|()| None))
        }
        done => done.map(|()| None),
    }
}

impl Laid {
    /// Has a change made of those inputs of a weight that it is of.
    pub fn over(&self, shape: &[usize], values: &mut [f32], change: impl FnOnce(&mut Weight)) {
        if values.is_empty() {
            return;
        }
        let Some(inputs) = self.channels else { return change(&mut Weight { shape, values }) };
        let taps: usize = shape[2..].iter().product();
        let (all, some) = (shape[1] * taps, inputs * taps);
        let mut part: Vec<f32> = values.chunks(all).flat_map(|row| &row[..some]).copied().collect();
        let narrow = [&[shape[0], inputs], &shape[2..]].concat();
        change(&mut Weight { shape: &narrow, values: &mut part });
        for (row, part) in values.chunks_mut(all).zip(part.chunks(some)) {
            row[..some].copy_from_slice(part);
        }
    }
}
