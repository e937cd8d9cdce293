//! The model that comes with the program, for a first picture without a download.
//!
//! To put another in its place, change the folder below and what [`NOTE`] says of it. The folder has the diffusers
//! layout, with the files listed.

use crate::{Error, Model};
use std::borrow::Cow;

/// What it is called in messages and in pictures' settings.
pub const NAME: &str = "builtin";

/// What a user should know before looking at its pictures.
pub const NOTE: &str = "the built-in model is tiny and untrained: whatever the prompt, it draws textures that look \
     like noise. Give a real one with -m FOLDER (a Stable Diffusion 1.x or 2.x folder in the diffusers layout)";

macro_rules! embedded {
    ($($path:literal)*) => {
        &[$(($path, include_bytes!(concat!("../tests/goldens/sd1-tiny/model/", $path)))),*]
    };
}

/// Paths in the folder, and the files' bytes.
const FILES: &[(&str, &[u8])] = embedded![
    "model_index.json"
    "scheduler/scheduler_config.json"
    "text_encoder/config.json"
    "text_encoder/model.safetensors"
    "tokenizer/merges.txt"
    "tokenizer/special_tokens_map.json"
    "tokenizer/tokenizer_config.json"
    "tokenizer/vocab.json"
    "unet/config.json"
    "unet/diffusion_pytorch_model.safetensors"
    "vae/config.json"
    "vae/diffusion_pytorch_model.safetensors"
];

/// Opens it.
pub fn model() -> Result<Model, Error> {
    let file =
        |path: &str| FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| Cow::Borrowed(*bytes));
    Ok(Model::from_files(NAME, file)?)
}
