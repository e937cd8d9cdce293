//! A model folder's own JSON, read strictly.
//!
//! Every field that diffusers 0.42 and transformers 5 know for these classes is honoured, passed over because no value of
//! it changes what is computed here (`INERT`), or accepted only at the value that changes nothing; any other value, and any
//! field that nobody here knows, is an error that names file, field and value. A picture that is silently wrong would be
//! worse. Absent fields have those projects' defaults.

mod activation;
mod architectures;
mod clip;
mod fields;
mod index;
mod pretrained;
mod unet;
mod vae;

pub use activation::Activation;
pub use architectures::Architecture;
pub use clip::ClipTextConfig;
pub use index::ModelIndex;
pub use unet::{Block, UNetConfig};
pub use vae::VaeConfig;

use crate::{Error, Result, Role, layout};

/// All configurations of a model folder, checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// `model_index.json`.
    pub index: ModelIndex,
    /// `text_encoder/config.json`.
    pub text: ClipTextConfig,
    /// `unet/config.json`.
    pub unet: UNetConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
    /// `scheduler/scheduler_config.json` as it stands: the samplers read it.
    pub scheduler: String,
}

impl ModelConfig {
    /// Reads a folder's files through `read`, which gets a path relative to the folder and returns the file's text.
    /// `place` is the folder's name in errors.
    pub fn read(place: &str, mut read: impl FnMut(&str) -> std::io::Result<String>) -> Result<Self> {
        let place = place.trim_end_matches('/');
        let mut open = |path: &str| {
            let file = if place.is_empty() { path.to_owned() } else { format!("{place}/{path}") };
            match read(path) {
                Ok(text) => Ok((file, text)),
                Err(error) => Err(Error::unread(file, error)),
            }
        };
        let (index, text) = open(layout::INDEX)?;
        let index = ModelIndex::parse(&index, &text)?;
        let (text_file, text) = open(layout::config(Role::Text))?;
        let text = ClipTextConfig::parse(&text_file, &text)?;
        let (unet_file, unet) = open(layout::config(Role::Denoiser))?;
        let unet = UNetConfig::parse(&unet_file, &unet)?;
        let (vae_file, vae) = open(layout::config(Role::Vae))?;
        let vae = VaeConfig::parse(&vae_file, &vae)?;
        let (_, scheduler) = open(layout::SCHEDULER)?;
        let config = Self { index, text, unet, vae, scheduler };
        config.check(unet_file)?;
        Ok(config)
    }

    /// The size of a picture that the model was trained on, `[height, width]` in pixels, where its UNet says so.
    pub fn default_size(&self) -> Option<[usize; 2]> {
        self.unet.sample_size.map(|size| size.map(|side| side * self.vae.factor()))
    }

    /// The components must speak of the same latents and the same text states.
    fn check(&self, file: String) -> Result<()> {
        let Self { text, unet, vae, .. } = self;
        let invalid = |field: &str, value: String, why: String| {
            Err(Error::Invalid { file: file.clone(), field: field.into(), value, why })
        };
        for (field, channels) in [("in_channels", unet.in_channels), ("out_channels", unet.out_channels)] {
            if channels != vae.latent_channels {
                let why = format!(
                    "the VAE's latents have {}; UNets with further inputs (inpainting, depth) are not supported",
                    vae.latent_channels
                );
                return invalid(field, channels.to_string(), why);
            }
        }
        for level in (0..unet.levels()).filter(|&level| unet.attends(level)) {
            let width = unet.cross_attention_dim[level];
            if width != text.hidden_size {
                let why = format!("the text encoder's hidden_size is {}", text.hidden_size);
                return invalid("cross_attention_dim", width.to_string(), why);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
