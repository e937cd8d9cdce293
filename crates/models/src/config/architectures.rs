use super::ModelConfig;
use crate::layout::words;
use crate::{Result, Role};
use serde_json::Value;
use std::io;

/// A published model's configuration, carried along: the architecture of `synthetic:` models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Stable Diffusion 1.5: CLIP ViT-L/14, predicts noise, 512 pixels.
    Sd15,
    /// Stable Diffusion 2.1: OpenCLIP ViT-H/14, predicts velocity, 768 pixels.
    Sd21,
    /// Stable Diffusion XL, the base model: CLIP ViT-L/14 and OpenCLIP ViT-bigG/14, predicts noise, 1024 pixels.
    Sdxl,
    /// Stable Diffusion XL's refiner: OpenCLIP ViT-bigG/14 alone, goes on with what the base model has begun.
    SdxlRefiner,
    /// SSD-1B: the same with fewer transformers, distilled (Gupta et al. 2024, arXiv:2401.02677).
    Ssd1b,
    /// SD-Turbo: Stable Diffusion 2.1 at 512 pixels in one to four steps (Sauer et al. 2023, arXiv:2311.17042).
    SdTurbo,
}

macro_rules! files {
    ($folder:literal: $($path:literal),*) => {
        &[$(($path, include_str!(concat!("architectures/", $folder, "/", $path)))),*]
    };
}

const SD15: &[(&str, &str)] = files!("sd15":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "unet/config.json", "vae/config.json");
const SD21: &[(&str, &str)] = files!("sd21":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "unet/config.json", "vae/config.json");

const SDXL: &[(&str, &str)] = files!("sdxl":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder_2/config.json",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json", "unet/config.json", "vae/config.json");
const SDXL_REFINER: &[(&str, &str)] = files!("sdxl-refiner":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder_2/config.json",
    "tokenizer_2/special_tokens_map.json", "tokenizer_2/tokenizer_config.json", "unet/config.json", "vae/config.json");
const SSD1B: &[(&str, &str)] = files!("ssd-1b":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder_2/config.json",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json", "unet/config.json", "vae/config.json");
const SD_TURBO: &[(&str, &str)] = files!("sd-turbo":
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "unet/config.json", "vae/config.json");

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sd15, Self::Sd21, Self::Sdxl, Self::SdxlRefiner, Self::Ssd1b, Self::SdTurbo];

    /// The name after `synthetic:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "sd15",
            Self::Sd21 => "sd21",
            Self::Sdxl => "sdxl",
            Self::SdxlRefiner => "sdxl-refiner",
            Self::Ssd1b => "ssd-1b",
            Self::SdTurbo => "sd-turbo",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// The files, by their paths in the model folder. The tokenizer's vocabulary is not among them.
    pub const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Sd15 => SD15,
            Self::Sd21 => SD21,
            Self::Sdxl => SDXL,
            Self::SdxlRefiner => SDXL_REFINER,
            Self::Ssd1b => SSD1B,
            Self::SdTurbo => SD_TURBO,
        }
    }

    /// One file's text.
    pub fn file(self, path: &str) -> Option<&'static str> {
        self.files().iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
    }

    /// What a text encoder's tokenizer pads with, where its files say it.
    pub fn padding(self, encoder: Role) -> Option<String> {
        let text = self.file(&words::path(encoder, words::SPECIAL))?;
        let all: Value = serde_json::from_str(text).ok()?;
        let token = &all["pad_token"];
        token.as_str().or(token["content"].as_str()).map(String::from)
    }

    /// The configuration, read as any folder's is.
    pub fn config(self) -> Result<ModelConfig> {
        ModelConfig::read(&format!("synthetic:{}", self.name()), |path| {
            self.file(path).map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}
