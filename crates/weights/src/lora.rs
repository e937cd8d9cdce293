use crate::source::WeightSource;
use crate::{Error, Result};
use calotype_tensor::{DType, HostTensor};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A low-rank change of a model's layers: `W + scale · alpha/rank · B·A` (Hu et al. 2021, arXiv:2106.09685).
///
/// Three spellings of the layers' names are read: diffusers' and PEFT's (`unet.<path>.lora_A.weight`), diffusers' older
/// ones (`….lora.down.weight`, `….processor.to_q_lora.down.weight`), and kohya's (`lora_unet_<path with underscores>`,
/// `lora_te_…`), whose paths must be those of diffusers. Tensors are read when the model's weights are.
pub struct Lora {
    source: Rc<dyn WeightSource>,
    layers: Vec<Layer>,
}

/// The change of one layer.
pub(crate) struct Layer {
    /// The model's component, by its folder.
    pub component: &'static str,
    /// The layer's path in it, with underscores for dots: kohya's names keep no more.
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

/// The fields of PEFT's `LoraConfig` that decide the scale.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Adapter {
    lora_alpha: Option<f32>,
    alpha_pattern: BTreeMap<String, f32>,
    use_rslora: bool,
}

enum Part {
    Down,
    Up,
    Alpha,
}

/// How the tensors of a layer end.
const ENDINGS: [(&str, Part); 11] = [
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".alpha", Part::Alpha),
];

impl Lora {
    /// Reads a LoRA's names and shapes. Fails where a tensor is of another kind of adapter (DoRA, LoHa, LoKr, …), or a
    /// layer has only half of what it takes.
    pub fn new(source: impl WeightSource + 'static) -> Result<Self> {
        let place = source.describe("");
        let wrong = |tensor: &str, why: &str| {
            Err(Error::Lora { place: place.clone(), tensor: tensor.into(), why: why.into() })
        };
        let mut parts: BTreeMap<&str, [Option<&str>; 3]> = BTreeMap::new();
        for name in source.names() {
            let found = ENDINGS.iter().find_map(|(ending, part)| Some((name.strip_suffix(ending)?, part)));
            match found {
                Some((layer, Part::Down)) => parts.entry(layer).or_default()[0] = Some(name),
                Some((layer, Part::Up)) => parts.entry(layer).or_default()[1] = Some(name),
                Some((layer, Part::Alpha)) => parts.entry(layer).or_default()[2] = Some(name),
                None if !source.names().iter().any(|n| n.contains("lora")) => {
                    return Err(Error::NoLora { place });
                }
                None => {
                    return wrong(
                        name,
                        "is of a kind that is not supported: only plain LoRA is (no DoRA, LoHa, LoKr)",
                    );
                }
            }
        }
        if parts.is_empty() {
            return Err(Error::NoLora { place });
        }
        let mut layers = Vec::new();
        for (layer, [down, up, alpha]) in parts {
            let (Some(down), Some(up)) = (down, up) else {
                let lone = down.or(up).or(alpha).unwrap_or(layer);
                return wrong(lone, "stands alone: its layer lacks the rest; download it again");
            };
            let Some((component, path)) = place_of(layer) else {
                return wrong(
                    down,
                    "is for a text encoder that Stable Diffusion 1.x and 2.x do not have (SDXL's?)",
                );
            };
            let alpha = alpha.map(String::from);
            layers.push(Layer { component, path, down: down.into(), up: up.into(), alpha });
        }
        Ok(Self { source: Rc::new(source), layers })
    }

    /// Opens a safetensors file, or a folder with diffusers' `pytorch_lora_weights.safetensors` in it.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl Into<std::path::PathBuf>) -> Result<Self> {
        let path = path.into();
        Self::new(crate::Safetensors::open(if path.is_dir() { path.join(Self::FILE) } else { path })?)
    }

    /// The name that diffusers gives a LoRA's file.
    pub const FILE: &str = "pytorch_lora_weights.safetensors";

    /// How many layers it changes.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The layers of a component.
    pub(crate) fn layers_of(&self, component: &str) -> impl Iterator<Item = (usize, &Layer)> {
        self.layers.iter().enumerate().filter(move |(_, layer)| layer.component == component)
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
        let adapter = self.adapter(layer.component)?;
        let alpha = match &layer.alpha {
            Some(alpha) => match self.values(alpha).await?[..] {
                [alpha] => alpha,
                _ => return Err(self.wrong(alpha, "is not one number")),
            },
            // PEFT looks a pattern up by the end of the layer's path.
            None => {
                let own = |(pattern, _): &(&String, &f32)| {
                    let end = pattern.replace('.', "_");
                    layer.path == end || layer.path.ends_with(&format!("_{end}"))
                };
                let own = adapter.alpha_pattern.iter().find(own).map(|(_, alpha)| *alpha);
                own.or(adapter.lora_alpha).unwrap_or(rank)
            }
        };
        // Kalajdzievski 2023, arXiv:2312.03732.
        let factor = alpha / if adapter.use_rslora { rank.sqrt() } else { rank };
        if !factor.is_finite() {
            return Err(self.wrong(&layer.down, "has a scale that is not finite: the file is damaged"));
        }
        Ok(([self.values(&layer.down).await?, self.values(&layer.up).await?], factor))
    }

    async fn values(&self, tensor: &str) -> Result<Vec<f32>> {
        decode(&*self.source, tensor).await
    }

    /// What the metadata says of a component's adapter.
    fn adapter(&self, component: &str) -> Result<Adapter> {
        let Some(text) = self.source.metadata(METADATA) else { return Ok(Adapter::default()) };
        let bad = |e: serde_json::Error| Error::BadHeader {
            place: self.source.describe(""),
            why: format!("metadata {METADATA}: {e}"),
        };
        let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).map_err(bad)?;
        let own = all.into_iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(component)?.strip_prefix('.')?.to_owned(), value))
        });
        serde_json::from_value(own.collect::<serde_json::Map<_, _>>().into()).map_err(bad)
    }
}

/// A tensor of any float type as f32.
pub(crate) async fn decode(source: &(impl WeightSource + ?Sized), name: &str) -> Result<Vec<f32>> {
    let (shape, dtype) = source.get(name).map(|info| (info.numel(), info.dtype))?;
    if dtype == DType::U32 {
        let (tensor, place) = (name.into(), source.describe(name));
        return Err(Error::UnsupportedDtype { tensor, place, dtype: "u32".into() });
    }
    let bytes = source.read_all(name).await?;
    Ok(HostTensor::from_bytes([shape], dtype, bytes.into_owned()).to_f32())
}

/// A layer's component, and its path with underscores; none for components that no model here has.
fn place_of(layer: &str) -> Option<(&'static str, String)> {
    const UNET: &str = "unet";
    const TEXT: &str = "text_encoder";
    let prefixes = [
        ("unet.", UNET),
        ("lora_unet_", UNET),
        ("text_encoder.", TEXT),
        ("lora_te_", TEXT),
        ("lora_te1_", TEXT),
    ];
    if ["text_encoder_2.", "lora_te2_"].iter().any(|other| layer.starts_with(other)) {
        return None;
    }
    let (component, path) = prefixes
        .iter()
        .find_map(|(prefix, component)| Some((*component, layer.strip_prefix(prefix)?)))
        .unwrap_or((UNET, layer));
    // diffusers up to 0.19 kept LoRAs in attention processors, where the last projection has no index.
    let path = match path.contains(".processor.") {
        true => {
            let path = path.replace(".processor.", ".");
            if path.ends_with(".to_out") { path + ".0" } else { path }
        }
        false => path.to_owned(),
    };
    Some((component, path.replace('.', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_in_every_spelling() {
        let unet = |path: &str| Some(("unet", path.to_owned()));
        let path = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        assert_eq!(place_of("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"), unet(path));
        assert_eq!(place_of(&format!("lora_unet_{path}")), unet(path));
        assert_eq!(
            place_of("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q"),
            unet(path)
        );
        assert_eq!(place_of("unet.mid.attn1.processor.to_out"), unet("mid_attn1_to_out_0"));
        let text = Some(("text_encoder", "text_model_encoder_layers_0_mlp_fc1".to_owned()));
        assert_eq!(place_of("text_encoder.text_model.encoder.layers.0.mlp.fc1"), text);
        assert_eq!(place_of("lora_te_text_model_encoder_layers_0_mlp_fc1"), text);
        assert_eq!(place_of("lora_te2_text_model_encoder_layers_0_mlp_fc1"), None);
    }
}
