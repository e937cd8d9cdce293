//! Changes to a model's weights that come in files of their own: LoRAs, and what else goes by that name.
//!
//! A kind of change is a file here behind one trait ([`kind::Kind`]), a naming scheme one in `schemes`. [`fit`] finds the
//! weights that a file's layers change, [`check`] says whether it is for this model at all.

mod adapter;
mod algebra;
mod boft;
mod check;
mod describe;
mod difference;
mod dora;
mod embedding;
mod factors;
mod family;
pub(crate) mod fit;
mod glora;
mod hadamard;
mod ia3;
mod inputs;
pub(crate) mod kind;
mod kronecker;
pub(crate) mod layer;
mod low_rank;
mod norms;
mod oft;
mod open;
mod schemes;
mod tucker;
mod words;

pub use describe::LoraFacts;
pub(crate) use family::Family;

use crate::{Error, Result};
use adapter::Adapter;
use algebra::{Array, Weight};
use calotype_tensor::Tensors;
use calotype_tensor::parallel::prelude::*;
use fit::Laid;
use kind::{Kind, Piece, Shapes, Target, Values};
use layer::Layer;
use schemes::{Named, TEXT, TEXT_2, UNET, Unknown};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A change of a model's layers: a LoRA (Hu et al. 2021, arXiv:2106.09685), or one of its relatives (LoCon, LoHa, LoKr,
/// (IA)³, GLoRA, OFT, BOFT, full differences, norms; any of them with DoRA's magnitudes).
///
/// The names that diffusers, PEFT, kohya, LyCORIS, OneTrainer and ComfyUI give the layers are read, today's and older ones,
/// with paths as diffusers has them or in the original layout. Tensors are read when the model's weights are.
///
/// Laid over a model at a strength it makes that share of its change: at 0 none, at 1 all. Several are laid over it in the
/// order given, each over what those before it have made, as ComfyUI and A1111 do. That matters to kinds whose change depends
/// on the weight: DoRA, GLoRA, (IA)³, OFT and BOFT. The others add up in any order.
pub struct Lora {
    source: Rc<dyn Tensors>,
    layers: Vec<Layer>,
    /// Tensors of no layer that could be here.
    others: Others,
    /// What PEFT says of each component's layers.
    adapters: BTreeMap<&'static str, Adapter>,
    /// Whether what fits nowhere was told.
    told: Cell<bool>,
    /// Of its names and numbers, once it was asked for.
    digest: Cell<Option<u64>>,
}

/// Tensors by name, with why they are none of a layer's.
type Others = Vec<(String, Unknown)>;

/// What diffusers writes into the file's metadata of a LoRA made with PEFT (`_load_sft_state_dict_metadata` in
/// loaders/lora_base.py reads it), each key behind the component's name.
const METADATA: &str = "lora_adapter_metadata";

impl Lora {
    /// Reads a file's names and shapes. Fails where there is no change in it, or a layer has only half of what it takes.
    pub fn new(source: impl Tensors + 'static) -> Result<Self> {
        Self::with(source, None)
    }

    /// [`new`](Self::new), with the name and the text of PEFT's `adapter_config.json`, where there is one.
    pub fn with(source: impl Tensors + 'static, config: Option<(&str, &str)>) -> Result<Self> {
        let adapters = adapters(&source, config)?;
        let source: Rc<dyn Tensors> = Rc::new(source);
        let mut lora = Self {
            source,
            layers: Vec::new(),
            others: Vec::new(),
            adapters,
            told: Cell::new(false),
            digest: Cell::new(None),
        };
        (lora.layers, lora.others) = lora.named()?;
        let of_another = |why: &Unknown| matches!(why, Unknown::Component(_));
        if lora.layers.is_empty() && !lora.others.iter().any(|(_, why)| of_another(why)) {
            return Err(match lora.others.iter().find(|(_, why)| *why != Unknown::Name) {
                Some((tensor, why)) => lora.wrong(tensor, unknown(why)),
                None => Error::NoLora { place: lora.place() },
            });
        }
        lora.layers.iter().try_for_each(|layer| lora.whole(layer))?;
        Ok(lora)
    }

    /// The layers that the tensors' names speak of, and the other tensors.
    fn named(&self) -> Result<(Vec<Layer>, Others)> {
        let all = self.source.names();
        let there = |name: &str| all.binary_search(&name).is_ok();
        let (mut layers, mut others): (BTreeMap<_, Layer>, Others) = Default::default();
        let mut adapters: BTreeMap<&str, &str> = BTreeMap::new();
        for name in &all {
            let Named { component, path, piece, adapter, scheme } = match schemes::read(name, &there) {
                Ok(named) => named,
                Err(Unknown::Kind(kind)) if kind == schemes::CONTROL => {
                    return Err(self.wrong(name, unknown(&Unknown::Kind(kind))));
                }
                Err(why) => {
                    others.push(((*name).to_owned(), why));
                    continue;
                }
            };
            adapters.extend(adapter.map(|adapter| (adapter, *name)));
            let of_inputs = piece == Piece::Factors && self.adapters[component].feeds_forward(&path);
            let piece = if of_inputs { Piece::InputFactors } else { piece };
            let (tensors, shapes) = (BTreeMap::new(), Shapes::default());
            let new = Layer { component, path, scheme, tensors, shapes };
            let layer = layers.entry((component, new.key())).or_insert(new);
            layer.shapes.0.insert(piece, self.source.get(name)?.shape.clone());
            if let Some(other) = layer.tensors.insert(piece, (*name).to_owned()) {
                let why = format!("is the same part of the same layer as {other}: keep one of them");
                return Err(self.wrong(name, why));
            }
        }
        if let (Some((first, _)), Some((last, tensor))) =
            (adapters.first_key_value(), adapters.last_key_value())
            && first != last
        {
            let why =
                format!("is of adapter {last}, and others are of {first}: save each in a file of its own");
            return Err(self.wrong(tensor, why));
        }
        Ok((layers.into_values().collect(), others))
    }

    /// Whether a layer has all that it takes.
    fn whole(&self, layer: &Layer) -> Result<()> {
        for piece in [Piece::Alpha, Piece::Scale] {
            if let Some(shape) = layer.shapes.0.get(&piece).filter(|s| s.iter().product::<usize>() != 1) {
                let why = format!("has shape {shape:?}, and an alpha is one number");
                return Err(self.wrong(&layer.tensors[&piece], why));
            }
        }
        let lacks = layer.kinds().find(|kind| kind.lacks(&layer.shapes).is_some());
        let alone = match (lacks, layer.kinds().next()) {
            (Some(kind), _) => layer.tensor(kind),
            (None, None) => layer.tensors.values().next().map_or("", String::as_str),
            (None, Some(_)) => return Ok(()),
        };
        Err(self.wrong(alone, "stands alone: its layer lacks the rest; download it again"))
    }

    /// The names that diffusers and PEFT give a LoRA's file.
    pub const FILES: [&str; 4] = [
        "pytorch_lora_weights.safetensors",
        "adapter_model.safetensors",
        "pytorch_lora_weights.bin",
        "adapter_model.bin",
    ];

    /// Tells it from others, by its names and numbers: the same file again has the same. Reads all of it once.
    pub async fn digest(&self) -> Result<u64> {
        if let Some(known) = self.digest.get() {
            return Ok(known);
        }
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.adapters).hash(&mut hasher);
        for name in self.source.names() {
            // What is not read changes nothing.
            let Ok(info) = self.source.get(name) else { continue };
            (name, &info.shape).hash(&mut hasher);
            self.source.read_all(name).await?.hash(&mut hasher);
        }
        self.digest.set(Some(hasher.finish()));
        Ok(hasher.finish())
    }

    /// How many layers it changes.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What its file says of itself by a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.source.metadata(key)
    }

    /// Its file.
    pub(crate) fn place(&self) -> String {
        self.source.describe("")
    }

    /// An error about one of its tensors.
    pub(crate) fn wrong(&self, tensor: &str, why: impl Into<String>) -> Error {
        Error::Lora { place: self.source.describe(tensor), tensor: tensor.into(), why: why.into() }
    }

    /// Changes a tensor of the model.
    pub(crate) async fn apply(
        &self,
        laid: &Laid,
        shape: &[usize],
        values: &mut [f32],
        strength: f32,
    ) -> Result<()> {
        let layer = &self.layers[laid.layer];
        let mut pieces = Values::new(&self.adapters[layer.component]);
        let mut factors = Vec::new();
        for kind in &laid.kinds {
            factors.push(self.factor(layer, *kind).await?);
        }
        let dora = [Piece::Magnitudes, Piece::OutputMagnitudes];
        let more = dora.iter().filter(|_| laid.kinds.iter().any(|kind| kind.target() == Target::Weight));
        for piece in laid.kinds.iter().flat_map(|kind| kind.pieces()).chain(more) {
            if let Some(tensor) = layer.tensors.get(piece) {
                let array =
                    Array { shape: layer.shapes.of(*piece).to_vec(), values: self.values(tensor).await? };
                pieces.insert(*piece, array);
            }
        }
        let strength = f64::from(strength);
        laid.over(shape, values, |weight| {
            dora::decompose(weight, &pieces, strength, |weight: &mut Weight, strength| {
                for (kind, factor) in laid.kinds.iter().zip(&factors) {
                    kind.apply(weight, &pieces, *factor, strength);
                }
            });
        });
        if values.par_iter().any(|v| !v.is_finite()) {
            let by = (strength * factors.first().copied().flatten().unwrap_or(1.0)) as f32;
            let why = format!("times {by:e} makes values that are not finite: choose a smaller scale");
            return Err(self.wrong(layer.tensor(laid.kinds[0]), why));
        }
        Ok(())
    }

    /// What a kind's change of a layer is multiplied with, or its alpha.
    async fn factor(&self, layer: &Layer, kind: &dyn Kind) -> Result<Option<f64>> {
        let alpha = self.number(layer, Piece::Alpha).await?;
        if kind.plain_alpha() {
            return Ok(alpha.map(f64::from));
        }
        let adapter = &self.adapters[layer.component];
        let rank = kind.rank(&layer.shapes).map(|rank| rank as f64);
        let Some(rank) = rank.or_else(|| adapter.rank(&layer.path)) else { return Ok(None) };
        if let Some(scale) = self.number(layer, Piece::Scale).await? {
            return Ok(Some(f64::from(scale)));
        }
        Ok(Some(adapter.factor(&layer.path, alpha.map(f64::from), rank)))
    }

    async fn number(&self, layer: &Layer, piece: Piece) -> Result<Option<f32>> {
        match layer.tensors.get(&piece) {
            Some(tensor) => Ok(self.values(tensor).await?.first().copied()),
            None => Ok(None),
        }
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
    [UNET, TEXT, TEXT_2].into_iter().map(read).collect()
}

fn unknown(why: &Unknown) -> String {
    match why {
        Unknown::Kind(kind) => format!("is {kind}, which is not supported"),
        Unknown::Word => "is of a word".into(),
        Unknown::Component(what) => format!("is for {what}, which no model that Calotype draws has"),
        Unknown::Name => "has a name that no LoRA's tensor has".into(),
    }
}

/// A tensor's numbers as f32.
pub(crate) async fn decode(source: &(impl Tensors + ?Sized), name: &str) -> Result<Vec<f32>> {
    let dtype = source.get(name)?.dtype;
    Ok(dtype.to_f32(&source.read_all(name).await?))
}
