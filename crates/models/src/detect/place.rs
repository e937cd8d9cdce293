//! Where a family's components stand in a single file, as the family's own code saves it.

use super::Family;
use crate::Role;
use calotype_weights::schemes::FilePlace;

impl Family {
    /// A component's place, by its folder.
    pub fn place(self, component: &str) -> FilePlace {
        let (prefix, open_clip) = match (component, self) {
            (unet, _) if unet == Role::Denoiser.folder() => ("model.diffusion_model.", false),
            (vae, _) if vae == Role::Vae.folder() => ("first_stage_model.", false),
            (text, _) if !text.starts_with(Role::Text.folder()) => ("", false),
            (_, Self::Sd1) => ("cond_stage_model.transformer.", false),
            (_, Self::Sd2) => ("cond_stage_model.model.", true),
            (first, Self::Sdxl) if first == Role::Text.folder() => {
                ("conditioner.embedders.0.transformer.", false)
            }
            (_, Self::Sdxl) => ("conditioner.embedders.1.model.", true),
            (_, Self::Refiner) => ("conditioner.embedders.0.model.", true),
        };
        FilePlace { prefix, open_clip }
    }

    /// What ComfyUI-GGUF and sd.cpp call it in a GGUF file (`general.architecture`).
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sd2 => "sd2",
            Self::Sdxl | Self::Refiner => "sdxl",
        }
    }
}
