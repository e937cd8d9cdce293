use super::facts;
use crate::Role;
use calotype_tensor::Tensors;
use std::fmt;

/// A family of models: those that are put together alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1: CLIP ViT-L, eight heads everywhere.
    Sd1,
    /// Stable Diffusion 2: OpenCLIP ViT-H, heads of 64 channels.
    Sd2,
    /// Stable Diffusion XL, the base model.
    Sdxl,
    /// Stable Diffusion XL's refiner.
    Refiner,
}

impl Family {
    /// The family of a UNet, and by what that is told. The width of the text decides where it is a published one (as in
    /// InvokeAI and Forge), else how the network is put together.
    pub fn of(unet: &dyn Tensors) -> Option<(Self, String)> {
        let context = facts::context(unet)?;
        let linear = facts::is_linear(unet);
        let (family, why) = match (context, unet.contains("add_embedding.linear_1.weight")) {
            (768, false) => (Self::Sd1, String::new()),
            (1024, false) => (Self::Sd2, String::new()),
            (2048, true) => (Self::Sdxl, String::new()),
            (1280, true) => (Self::Refiner, String::new()),
            // The base has three levels, the refiner four.
            (_, true) if unet.contains("down_blocks.3.resnets.0.conv1.weight") => {
                (Self::Refiner, " and takes sizes and a score".into())
            }
            (_, true) => (Self::Sdxl, " and takes sizes".into()),
            (_, false) if linear => (Self::Sd2, ", through linear layers".into()),
            (_, false) => (Self::Sd1, ", through convolutions".into()),
        };
        Some((family, format!("the UNet attends to text {context} wide{why}")))
    }

    /// Whether pictures are drawn with it.
    pub const fn is_drawn(self) -> bool {
        matches!(self, Self::Sd1 | Self::Sd2 | Self::Sdxl | Self::Refiner)
    }

    /// diffusers' class.
    pub(super) const fn pipeline(self) -> &'static str {
        match self {
            Self::Sd1 | Self::Sd2 => "StableDiffusionPipeline",
            Self::Sdxl => "StableDiffusionXLPipeline",
            Self::Refiner => "StableDiffusionXLImg2ImgPipeline",
        }
    }

    /// Its text encoders.
    pub const fn texts(self) -> &'static [Role] {
        match self {
            Self::Sd1 | Self::Sd2 => &[Role::Text],
            Self::Sdxl => &Role::TEXT,
            Self::Refiner => &[Role::Text2],
        }
    }

    /// What latents are multiplied by (`scaling_factor` in the published folders).
    pub(super) const fn scaling_factor(self) -> f64 {
        match self {
            Self::Sd1 | Self::Sd2 => 0.18215,
            Self::Sdxl | Self::Refiner => 0.13025,
        }
    }

    /// What a text encoder's tokenizer pads with in the published folders.
    pub const fn padding(self, encoder: Role) -> &'static str {
        match (self, encoder) {
            (Self::Sd2, _) | (_, Role::Text2) => "!",
            _ => "<|endoftext|>",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sd1 => "Stable Diffusion 1",
            Self::Sd2 => "Stable Diffusion 2",
            Self::Sdxl => "Stable Diffusion XL",
            Self::Refiner => "Stable Diffusion XL's refiner",
        })
    }
}
