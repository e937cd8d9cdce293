//! A model folder's own JSON, read strictly.
//!
//! Every field that diffusers 0.42 and transformers 5 know for these classes is honoured, passed over because no value of
//! it changes what is computed here (`INERT`), or accepted only at the value that changes nothing; any other value, and any
//! field that nobody here knows, is an error that names file, field and value. A picture that is silently wrong would be
//! worse. Absent fields have those projects' defaults.

mod activation;
mod architectures;
mod clip;
mod control;
mod fields;
mod index;
mod pretrained;
mod unet;
mod vae;

pub use activation::Activation;
pub use architectures::Architecture;
pub use clip::{ClipTextConfig, TextEncoder};
pub use control::ControlConfig;
pub use index::ModelIndex;
pub(crate) use index::text_class;
pub use unet::{Block, Depths, TextTime, UNetConfig};
pub use vae::VaeConfig;

use crate::{Error, Result, Role, layout};

/// How many numbers an SDXL UNet is told of a picture beside its text: original size, crop and target size, in the place of
/// which a refiner is told how much the picture is liked.
const fn ids(refines: bool) -> usize {
    if refines { 5 } else { 6 }
}

/// All configurations of a model folder, checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// `model_index.json`.
    pub index: ModelIndex,
    /// `text_encoder/config.json`, and `text_encoder_2/config.json` where there are two.
    pub texts: Vec<TextEncoder>,
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
    pub fn read(place: &str, read: impl FnMut(&str) -> std::io::Result<String>) -> Result<Self> {
        let place = place.trim_end_matches('/');
        let named = |path: &str| if place.is_empty() { path.to_owned() } else { format!("{place}/{path}") };
        Self::read_as(named, read)
    }

    /// The same of files that need not lie in one folder: `named` gives what errors call each.
    pub fn read_as(
        named: impl Fn(&str) -> String,
        mut read: impl FnMut(&str) -> std::io::Result<String>,
    ) -> Result<Self> {
        let mut open = |path: &str| {
            let file = named(path);
            match read(path) {
                Ok(text) => Ok((file, text)),
                Err(error) => Err(Error::unread(file, error)),
            }
        };
        let (index, text) = open(layout::INDEX)?;
        let index = ModelIndex::parse(&index, &text)?;
        let mut texts = Vec::new();
        for role in index.texts {
            let (file, text) = open(layout::config(*role))?;
            texts.push(TextEncoder::parse(*role, index.penultimate, &file, &text)?);
        }
        let (unet_file, unet) = open(layout::config(Role::Denoiser))?;
        let unet = UNetConfig::parse(&unet_file, &unet)?;
        let (vae_file, vae) = open(layout::config(Role::Vae))?;
        let vae = VaeConfig::parse(&vae_file, &vae)?;
        let (_, scheduler) = open(layout::SCHEDULER)?;
        let config = Self { index, texts, unet, vae, scheduler };
        config.check(unet_file)?;
        Ok(config)
    }

    /// The size of a picture that the model was trained on, `[height, width]` in pixels, where its UNet says so.
    pub fn default_size(&self) -> Option<[usize; 2]> {
        self.unet.sample_size.map(|size| size.map(|side| side * self.vae.factor()))
    }

    /// The components that the model has, in the order in which a picture takes them.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.index.texts.iter().copied().chain([Role::Denoiser, Role::Vae])
    }

    /// A text encoder.
    pub fn text(&self, role: Role) -> Option<&TextEncoder> {
        self.texts.iter().find(|text| text.role == role)
    }

    /// The longest prompt, in tokens.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.clip.max_position_embeddings).min().unwrap_or(0)
    }

    /// Width of the text states that the UNet attends to: those of all encoders side by side.
    pub fn states_width(&self) -> usize {
        self.texts.iter().map(|text| text.clip.hidden_size).sum()
    }

    /// How wide the vector of a whole prompt is, where an encoder makes one.
    pub fn pooled_width(&self) -> Option<usize> {
        self.texts.iter().find_map(|text| text.pooled)
    }

    /// The components must speak of the same latents and the same text.
    fn check(&self, file: String) -> Result<()> {
        let Self { unet, vae, .. } = self;
        let invalid = |field: &str, value: String, why: String| {
            Err(Error::Invalid { file: file.clone(), field: field.into(), value, why })
        };
        let latents = vae.latent_channels;
        if unet.out_channels != latents {
            let why = format!("the VAE's latents have {latents}");
            return invalid("out_channels", unet.out_channels.to_string(), why);
        }
        let (edits, inpaints) = (2 * latents, 2 * latents + 1);
        let is_known = [latents, edits, inpaints].contains(&unet.in_channels);
        if !is_known || (unet.edits() && self.index.penultimate) {
            let why = format!(
                "the VAE's latents have {latents}; of UNets with further inputs those of inpainting are supported, which take \
                 {inpaints}, and of InstructPix2Pix without a second text encoder, which take {edits}"
            );
            return invalid("in_channels", unet.in_channels.to_string(), why);
        }
        for level in (0..unet.levels()).filter(|&level| unet.attends(level)) {
            let width = unet.cross_attention_dim[level];
            if width != self.states_width() {
                let widths: Vec<_> =
                    self.texts.iter().map(|text| text.clip.hidden_size.to_string()).collect();
                let why = match &widths[..] {
                    [one] => format!("the text encoder's hidden_size is {one}"),
                    more => format!("the text encoders' hidden_size are {}", more.join(" and ")),
                };
                return invalid("cross_attention_dim", width.to_string(), why);
            }
        }
        if vae.latents.is_some() && !self.index.penultimate {
            let why = format!("a {} passes over it: its pictures would come out wrong", self.index.class);
            let file = layout::config(Role::Vae).into();
            return Err(Error::Invalid { file, field: "latents_mean".into(), value: "[…]".into(), why });
        }
        let prompts = self.texts.iter().map(|text| text.clip.max_position_embeddings);
        if let Some(other) = prompts.clone().find(|tokens| *tokens != self.tokens()) {
            let why = format!("the text encoders take prompts of {} and {other} tokens", self.tokens());
            return Err(Error::Invalid {
                file: layout::config(Role::Text2).into(),
                field: "max_position_embeddings".into(),
                value: other.to_string(),
                why,
            });
        }
        let numbers = ids(self.index.refines);
        match (unet.text_time, self.pooled_width()) {
            (None, _) if self.index.penultimate => {
                let why =
                    format!("a {} tells its UNet the sizes of pictures: \"text_time\"", self.index.class);
                invalid("addition_embed_type", "null".into(), why)
            }
            (Some(_), None) => {
                let why = format!("a {} has no text encoder that would tell it", self.index.class);
                invalid("addition_embed_type", "\"text_time\"".into(), why)
            }
            (Some(TextTime { width, ids }), Some(pooled)) if width != pooled + numbers * ids => {
                let why = format!(
                    "the second text encoder's projection_dim is {pooled}, and {numbers} numbers of {ids} are {}",
                    pooled + numbers * ids
                );
                invalid("projection_class_embeddings_input_dim", width.to_string(), why)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
