//! Which family of models a file is for.

use super::Lora;
use super::kind::Piece;
use super::schemes::{PRIOR, TEXT_2, TRANSFORMER, UNET, Unknown};
use calotype_tensor::Tensors;
use std::fmt;

/// A family of models, as far as it decides which LoRAs fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Sd1,
    Sd2,
    Sdxl,
    Refiner,
    Sd3,
    Flux,
    Transformer,
    Prior,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "SDXL",
            Self::Refiner => "SDXL's refiner",
            Self::Sd3 => "Stable Diffusion 3",
            Self::Flux => "Flux",
            Self::Transformer => TRANSFORMER,
            Self::Prior => PRIOR,
        })
    }
}

/// What only one family's layers are called.
const LAYERS: [(&str, Family); 6] = [
    ("double_blocks", Family::Flux),
    ("single_blocks", Family::Flux),
    ("single_transformer_blocks", Family::Flux),
    ("joint_blocks", Family::Sd3),
    ("attn_add_q_proj", Family::Sd3),
    ("attn.add_q_proj", Family::Sd3),
];

/// What trainers write of the model into metadata (kohya's `ss_base_model_version`, modelspec's architecture), by beginnings.
const METADATA: [(&str, &[(&str, Family)]); 2] = [
    (
        "modelspec.architecture",
        &[
            ("stable-diffusion-v1", Family::Sd1),
            ("stable-diffusion-v2", Family::Sd2),
            ("stable-diffusion-xl-v1-refiner", Family::Refiner),
            ("stable-diffusion-xl", Family::Sdxl),
            ("stable-diffusion-3", Family::Sd3),
            ("flux", Family::Flux),
        ],
    ),
    (
        "ss_base_model_version",
        &[
            ("sdxl", Family::Sdxl),
            ("sd_v1", Family::Sd1),
            ("sd_1", Family::Sd1),
            ("sd_v2", Family::Sd2),
            ("sd_2", Family::Sd2),
            ("sd3", Family::Sd3),
            ("flux", Family::Flux),
        ],
    ),
];

/// The family of a UNet, by the width of the text that it attends to, where that is one of the published ones.
fn by_width(width: usize) -> Option<Family> {
    match width {
        768 => Some(Family::Sd1),
        1024 => Some(Family::Sd2),
        1280 => Some(Family::Refiner),
        2048 => Some(Family::Sdxl),
        _ => None,
    }
}

impl Family {
    /// That of an embedding for the only text encoder, by its width.
    pub(crate) fn by_text(width: usize) -> Option<Self> {
        [Self::Sd1, Self::Sd2, Self::Refiner].into_iter().find(|family| by_width(width) == Some(*family))
    }
}

/// The family of a model's UNet.
pub(crate) fn of_model(unet: &dyn Tensors) -> Option<Family> {
    let names = unet.names();
    let reads_text = names.into_iter().find(|name| name.ends_with("attn2.to_k.weight"))?;
    by_width(*unet.get(reads_text).ok()?.shape.get(1)?)
}

/// Whether a layer reads text, so that its width is the text encoder's.
pub(crate) fn reads_text(key: &str) -> bool {
    key.ends_with("attn2_to_k") || key.ends_with("attn2_to_v")
}

impl Lora {
    /// The family that it is for, as far as names, shapes or metadata tell, and how they do.
    pub(crate) fn family(&self) -> Option<(Family, String)> {
        self.by_layers().or_else(|| self.by_metadata())
    }

    fn by_layers(&self) -> Option<(Family, String)> {
        let tensors = || {
            let own = self.layers.iter().flat_map(|layer| layer.tensors.values());
            own.chain(self.others.iter().map(|(name, _)| name))
        };
        for (mark, family) in LAYERS {
            if let Some(name) = tensors().find(|name| name.contains(mark)) {
                return Some((family, format!("it has {name}")));
            }
        }
        for (name, why) in &self.others {
            let family = match why {
                Unknown::Component(what) if *what == TRANSFORMER => Family::Transformer,
                Unknown::Component(what) if *what == PRIOR => Family::Prior,
                _ => continue,
            };
            return Some((family, format!("it has {name}")));
        }
        if self.layers.iter().any(|layer| layer.component == TEXT_2) {
            return Some((Family::Sdxl, "it changes a second text encoder".into()));
        }
        let unet = || self.layers.iter().filter(|layer| layer.component == UNET);
        for layer in unet().filter(|layer| reads_text(&layer.key())) {
            for piece in [Piece::Down, Piece::Difference, Piece::HadamardB1] {
                let width = layer.shapes.of(piece).get(1).copied();
                if let Some(family) = width.and_then(by_width) {
                    let width = width.unwrap_or_default();
                    return Some((family, format!("its layers read text of width {width}")));
                }
            }
        }
        // The others' attention is one block deep.
        let deep = |key: String| {
            let number = |rest: &str| rest.split('_').next()?.parse::<usize>().ok();
            key.split("transformer_blocks_").skip(1).any(|rest| number(rest) >= Some(1))
        };
        unet()
            .any(|layer| deep(layer.key()))
            .then(|| (Family::Sdxl, "its attention is several blocks deep".into()))
    }

    fn by_metadata(&self) -> Option<(Family, String)> {
        for (field, values) in METADATA {
            let Some(said) = self.source.metadata(field) else { continue };
            if let Some((_, family)) = values.iter().find(|(start, _)| said.to_lowercase().starts_with(start))
            {
                return Some((*family, format!("{field} is {said}")));
            }
        }
        let v2 = self.source.metadata("ss_v2") == Some("True");
        v2.then(|| (Family::Sd2, "ss_v2 is True".into()))
    }
}
