//! A LoRA on disk: a file, or a folder with one.

use super::Lora;
use crate::{Checkpoint, Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// PEFT's name for it.
const PEFT: &str = Lora::FILES[1];
/// What PEFT writes beside its file.
const CONFIG: &str = "adapter_config.json";

impl Lora {
    /// The file that [`open`](Self::open) takes. Errors where there is none; what is in it is not looked at.
    pub fn find(path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => choose(path),
            Ok(there) if there.is_file() => Ok(path.into()),
            Ok(_) => Err(Error::NotAFile(path.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NoLoraFile(path.into())),
            Err(error) => Err(Error::Io { path: path.into(), error }),
        }
    }

    /// Opens a safetensors file, or a folder with one: diffusers' `pytorch_lora_weights.safetensors`, PEFT's
    /// `adapter_model.safetensors`, or the only one that is there. Beside PEFT's lies its `adapter_config.json`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let file = Self::find(path)?;
        let source = Checkpoint::open(&file)?;
        if file.file_name() != Some(PEFT.as_ref()) {
            return Self::new(source);
        }
        let config = file.with_file_name(CONFIG);
        match fs::read_to_string(&config) {
            Ok(text) => Self::with(source, Some((&config.display().to_string(), &text))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                log::warn!("{}: no {CONFIG} beside it: alpha is taken to be the rank", file.display());
                Self::new(source)
            }
            Err(error) => Err(Error::Io { path: config, error }),
        }
    }
}

/// The LoRA in a folder.
fn choose(folder: &Path) -> Result<PathBuf> {
    if let Some(file) = Lora::FILES.map(|name| folder.join(name)).into_iter().find(|file| file.is_file()) {
        return Ok(file);
    }
    let names = crate::folder::list(folder)?;
    let found: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    match found[..] {
        [only] => Ok(folder.join(only)),
        _ => {
            let wanted = format!("{}, or one .safetensors file alone", Lora::FILES.join(" or "));
            let found = if names.is_empty() { "an empty folder".into() } else { names.join(", ") };
            Err(Error::NoWeights { folder: folder.into(), wanted, found })
        }
    }
}
