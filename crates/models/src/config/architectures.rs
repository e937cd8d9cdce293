use super::ModelConfig;
use crate::Result;
use std::io;

/// A published model's configuration, carried along: the architecture of `synthetic:` models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Stable Diffusion 1.5: CLIP ViT-L/14, predicts noise, 512 pixels.
    Sd15,
    /// Stable Diffusion 2.1: OpenCLIP ViT-H/14, predicts velocity, 768 pixels.
    Sd21,
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

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sd15, Self::Sd21];

    /// The name after `synthetic:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "sd15",
            Self::Sd21 => "sd21",
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
        }
    }

    /// One file's text.
    pub fn file(self, path: &str) -> Option<&'static str> {
        self.files().iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
    }

    /// The configuration, read as any folder's is.
    pub fn config(self) -> Result<ModelConfig> {
        ModelConfig::read(&format!("synthetic:{}", self.name()), |path| {
            self.file(path).map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}
