//! Where a LoRA lies: a file, or a folder with one.

use super::Lora;
use crate::{Checkpoint, Error, Folder, Result, Tensors};

/// The ending of a file that is found in a folder; one that is named may be of any format.
const ENDING: &str = ".safetensors";
/// PEFT's name for it, whatever its ending.
const PEFT: &str = "adapter_model";
/// What PEFT writes beside its file.
const CONFIG: &str = "adapter_config.json";

impl Lora {
    /// Opens a file of weights of a folder, or a folder in it with one: diffusers' `pytorch_lora_weights.safetensors`,
    /// PEFT's `adapter_model.safetensors`, either as `.bin`, or the only one that is there. Beside PEFT's lies its `adapter_config.json`.
    pub async fn within(folder: &dyn Folder, path: &str) -> Result<Option<Self>> {
        let path = match folder.list(path).await {
            Ok(Some(names)) if !path.ends_with(ENDING) => {
                format!("{path}/{}", choose(&folder.place(path), &names)?)
            }
            _ => path.to_owned(),
        };
        let Some(source) = Checkpoint::within(folder, &path).await? else { return Ok(None) };
        let (parent, file) = path.rsplit_once('/').unwrap_or(("", &path));
        let config = if parent.is_empty() { CONFIG.into() } else { format!("{parent}/{CONFIG}") };
        Self::beside(source, is_peft(file), folder, &config).await.map(Some)
    }

    /// With what PEFT says of it, if it is PEFT's.
    async fn beside(source: Checkpoint, peft: bool, folder: &dyn Folder, config: &str) -> Result<Self> {
        if !peft {
            return Self::new(source);
        }
        let place = folder.place(config);
        let Some(text) = folder.read(config).await? else {
            log::warn!("{}: no {CONFIG} beside it: alpha is taken to be the rank", source.describe(""));
            return Self::new(source);
        };
        let why = "it is not UTF-8 text; download it again";
        let bad = |_| Error::BadAdapter { place: place.clone(), why: why.into() };
        let text = String::from_utf8(text).map_err(bad)?;
        Self::with(source, Some((&place, &text)))
    }
}

/// Whether a file is PEFT's, by its name.
fn is_peft(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(stem, _)| stem == PEFT)
}

/// The LoRA among a folder's files.
fn choose<'a>(folder: &str, names: &'a [String]) -> Result<&'a str> {
    if let Some(file) = Lora::FILES.into_iter().find(|file| names.iter().any(|name| name == file)) {
        return Ok(file);
    }
    let found: Vec<&String> = names.iter().filter(|name| name.ends_with(ENDING)).collect();
    match found[..] {
        [only] => Ok(only),
        _ => {
            let wanted = format!("{}, or one {ENDING} file alone", Lora::FILES.join(" or "));
            let found = if names.is_empty() { "an empty folder".into() } else { names.join(", ") };
            Err(Error::NoWeights { folder: folder.into(), wanted, found })
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use super::{CONFIG, Error, Lora, Result, choose, is_peft};
    use crate::{Checkpoint, DiskFolder};
    use std::fs;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};

    impl Lora {
        /// The file that [`open`](Self::open) takes. Errors where there is none; what is in it is not looked at.
        pub fn find(path: impl AsRef<Path>) -> Result<PathBuf> {
            let path = path.as_ref();
            match fs::metadata(path) {
                Ok(there) if there.is_dir() => {
                    let names = DiskFolder::new(path).names("")?;
                    Ok(path.join(choose(&path.display().to_string(), &names)?))
                }
                Ok(there) if there.is_file() => Ok(path.into()),
                Ok(_) => Err(Error::NotAFile(path.into())),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NoLoraFile(path.into())),
                Err(error) => Err(Error::Io { path: path.into(), error }),
            }
        }

        /// Opens a LoRA on disk as [`within`](Self::within) does.
        pub fn open(path: impl AsRef<Path>) -> Result<Self> {
            let file = Self::find(path)?;
            let folder = DiskFolder::new(file.parent().unwrap_or(Path::new("")));
            let peft = file.file_name().is_some_and(|name| is_peft(&name.to_string_lossy()));
            pollster::block_on(Self::beside(Checkpoint::open(&file)?, peft, &folder, CONFIG))
        }
    }
}
