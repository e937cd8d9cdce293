mod adapter;
mod names;
mod open;

use crate::{Error, Result};
use adapter::Adapter;
use calotype_tensor::{HostTensor, Tensors};
use names::{Named, TEXT, UNET, Unknown};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A low-rank change of a model's layers: `W + scale · alpha/rank · B·A` (Hu et al. 2021, arXiv:2106.09685).
///
/// The names that diffusers, PEFT and kohya give the layers are read, today's and older ones: `unet.<path>.lora_A.weight`,
/// `base_model.model.<path>.lora_A.weight`, `….lora.down.weight`, `….processor.to_q_lora.down.weight`, and
/// `lora_unet_<path with underscores>`, `lora_te_…`, whose paths must be those of diffusers. Tensors are read when the
/// model's weights are.
pub struct Lora {
    source: Rc<dyn Tensors>,
    layers: Vec<Layer>,
    /// What PEFT says of each component's layers.
    adapters: BTreeMap<&'static str, Adapter>,
}

/// The change of one layer.
pub(crate) struct Layer {
    /// The model's component, by its folder.
    pub component: &'static str,
    /// The layer's path in it, where it may have underscores for dots.
    pub path: String,
    /// `A`: `[rank, in]`, or a kernel `[rank, in, kh, kw]`.
    pub down: String,
    /// `B`: `[out, rank]`, or `[out, rank, 1, 1]`.
    pub up: String,
    /// Its numerator of the scale, a tensor of one number.
    pub alpha: Option<String>,
}

/// What diffusers writes into the file's metadata of a LoRA made with PEFT (`_load_sft_state_dict_metadata` in
/// loaders/lora_base.py reads it), each key behind the component's name.
const METADATA: &str = "lora_adapter_metadata";

/// A layer as its tensors' names have it.
struct Parts<'a> {
    component: &'static str,
    path: String,
    /// Down, up, alpha.
    tensors: [Option<&'a str>; 3],
}

impl Lora {
    /// Reads a LoRA's names and shapes. Fails where a tensor is of another kind of adapter (DoRA, LoHa, LoKr, …), or a
    /// layer has only half of what it takes.
    pub fn new(source: impl Tensors + 'static) -> Result<Self> {
        Self::with(source, None)
    }

    /// [`new`](Self::new), with the name and the text of PEFT's `adapter_config.json`, where there is one.
    pub fn with(source: impl Tensors + 'static, config: Option<(&str, &str)>) -> Result<Self> {
        let adapters = adapters(&source, config)?;
        let mut lora = Self { source: Rc::new(source), layers: Vec::new(), adapters };
        let mut layers = Vec::new();
        for Parts { component, path, tensors: [down, up, alpha] } in lora.named()?.into_values() {
            for tensor in [down, up, alpha].into_iter().flatten() {
                lora.source.get(tensor)?;
            }
            let (Some(down), Some(up)) = (down, up) else {
                let lone = down.or(up).or(alpha).unwrap_or_default();
                return Err(lora.wrong(lone, "stands alone: its layer lacks the rest; download it again"));
            };
            if let Some(alpha) = alpha
                && lora.source.get(alpha)?.numel() != 1
            {
                let shape = lora.shape(alpha)?;
                return Err(lora.wrong(alpha, format!("has shape {shape:?}, and an alpha is one number")));
            }
            let alpha = alpha.map(String::from);
            layers.push(Layer { component, path, down: down.into(), up: up.into(), alpha });
        }
        lora.layers = layers;
        Ok(lora)
    }

    /// The layers that the tensors' names speak of, each by its component and its path with underscores.
    fn named(&self) -> Result<BTreeMap<(&'static str, String), Parts<'_>>> {
        let mut layers = BTreeMap::new();
        let mut adapters: BTreeMap<&str, &str> = BTreeMap::new();
        let all = self.source.names();
        for name in &all {
            let Named { component, path, part, adapter } = match names::read(name) {
                Ok(named) => named,
                Err(Unknown::Name) if !all.iter().any(|name| name.contains("lora")) => {
                    return Err(Error::NoLora { place: self.source.describe("") });
                }
                Err(unknown) => return Err(self.wrong(name, why(&unknown))),
            };
            adapters.extend(adapter.map(|adapter| (adapter, *name)));
            let new = || Parts { component, path: path.clone(), tensors: [None; 3] };
            let layer = layers.entry((component, path.replace('.', "_"))).or_insert_with(new);
            if let Some(other) = layer.tensors[part as usize].replace(name) {
                let why = format!("is the same part of the same layer as {other}: keep one of them");
                return Err(self.wrong(name, why));
            }
        }
        match (adapters.keys().next(), adapters.iter().next_back()) {
            _ if all.is_empty() => Err(Error::NoLora { place: self.source.describe("") }),
            (Some(first), Some((last, tensor))) if first != last => {
                let why = format!(
                    "is of adapter {last}, and others are of {first}: save each in a file of its own"
                );
                Err(self.wrong(tensor, why))
            }
            _ => Ok(layers),
        }
    }

    /// The names that diffusers and PEFT give a LoRA's file.
    pub const FILES: [&str; 4] = [
        "pytorch_lora_weights.safetensors",
        "adapter_model.safetensors",
        "pytorch_lora_weights.bin",
        "adapter_model.bin",
    ];

    /// How many layers it changes.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Its file.
    pub(crate) fn place(&self) -> String {
        self.source.describe("")
    }

    /// The layers of a component.
    pub(crate) fn layers_of(&self, component: &str) -> impl Iterator<Item = (usize, &Layer)> {
        self.layers.iter().enumerate().filter(move |(_, layer)| layer.component == component)
    }

    /// A layer's `A`, by name.
    pub(crate) fn down(&self, layer: usize) -> &str {
        &self.layers[layer].down
    }

    /// An error about one of its tensors.
    pub(crate) fn wrong(&self, tensor: &str, why: impl Into<String>) -> Error {
        Error::Lora { place: self.source.describe(tensor), tensor: tensor.into(), why: why.into() }
    }

    /// A tensor's shape.
    pub(crate) fn shape(&self, tensor: &str) -> Result<&[usize]> {
        Ok(&self.source.get(tensor)?.shape)
    }

    /// A layer's `A`, `[rank, in]`, `B`, `[out, rank]`, and their factor.
    pub(crate) async fn read(&self, layer: usize) -> Result<([Vec<f32>; 2], f32)> {
        let layer = &self.layers[layer];
        let rank = self.shape(&layer.down)?[0] as f32;
        let alpha = match &layer.alpha {
            Some(alpha) => self.values(alpha).await?.first().copied(),
            None => None,
        };
        let factor = self.adapters[layer.component].factor(&layer.path, alpha, rank);
        Ok(([self.values(&layer.down).await?, self.values(&layer.up).await?], factor))
    }

    async fn values(&self, tensor: &str) -> Result<Vec<f32>> {
        let values = decode(&*self.source, tensor).await?;
        match values.iter().filter(|v| !v.is_finite()).count() {
            0 => Ok(values),
            bad => Err(self.wrong(
                tensor,
                format!(
                    "holds {bad} values that are not finite (NaN or infinity): the LoRA is damaged; download it again, \
                     or leave it out"
                ),
            )),
        }
    }
}

/// What the file's metadata, or PEFT's `adapter_config.json` beside it, say of each component's layers.
fn adapters(source: &impl Tensors, config: Option<(&str, &str)>) -> Result<BTreeMap<&'static str, Adapter>> {
    let own = (format!("{}, {METADATA}", source.describe("")), source.metadata(METADATA));
    let read = |component: &'static str| {
        let (place, text, prefix) = match (&own, config) {
            ((place, Some(text)), _) => (&place[..], *text, format!("{component}.")),
            (_, Some((place, text))) => (place, text, String::new()),
            _ => return Ok((component, Adapter::default())),
        };
        let adapter = Adapter::parse(text, &prefix);
        let adapter = adapter.map_err(|why| Error::BadAdapter { place: place.into(), why })?;
        Ok((component, adapter))
    };
    [UNET, TEXT].into_iter().map(read).collect()
}

fn why(unknown: &Unknown) -> String {
    match unknown {
        Unknown::Kind(kind) => format!("is {kind}, which is not supported: only plain LoRA is"),
        Unknown::Component(what) => format!("is for {what}, which Stable Diffusion 1.x and 2.x do not have"),
        Unknown::Name => "has a name that is not supported: only plain LoRA is (no DoRA, LoHa, LoKr)".into(),
    }
}

/// A tensor's numbers as f32.
pub(crate) async fn decode(source: &(impl Tensors + ?Sized), name: &str) -> Result<Vec<f32>> {
    let (numel, dtype) = source.get(name).map(|info| (info.numel(), info.dtype))?;
    let bytes = source.read_all(name).await?;
    Ok(HostTensor::from_bytes([numel], dtype, bytes.into_owned()).to_f32())
}
