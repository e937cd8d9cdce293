//! Checkpoints whose tensors are fetched one by one, so that no model is ever whole in WebAssembly's memory.

use crate::fault::{Fault, Result};
use crate::files::Files;
use calotype_tensor::LocalFuture;
use calotype_weights::{Bytes, Checkpoint, Error};
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// Names of a component's weights, best first: halves are half the download, and whole files one request.
const NAMES: [&str; 6] = [
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
];

/// One of the files that JavaScript lends.
struct Remote {
    files: Rc<Files>,
    path: String,
    size: u64,
}

impl Remote {
    async fn open(files: &Rc<Files>, path: &str) -> Result<Option<Rc<dyn Bytes>>> {
        let Some(size) = files.size(path).await? else { return Ok(None) };
        Ok(Some(Rc::new(Self { files: files.clone(), path: path.into(), size })))
    }
}

impl Bytes for Remote {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>> {
        Box::pin(async move {
            let read = self.files.read(&self.path, range.start, range.end).await;
            read.map(Cow::Owned).map_err(|fault| told(&self.path, &fault))
        })
    }
}

/// What went wrong with a file, without its name: whoever asked says which it is.
fn told(path: &str, fault: &Fault) -> io::Error {
    let message = fault.to_string();
    io::Error::other(message.strip_prefix(&format!("{path}: ")).unwrap_or(&message))
}

/// Finds a component's weights and reads their headers.
pub async fn component(files: &Rc<Files>, component: &str) -> Result<Checkpoint> {
    for name in NAMES {
        let path = format!("{component}/{name}");
        let Some(file) = Remote::open(files, &path).await? else { continue };
        if !name.ends_with(".json") {
            return Ok(Checkpoint::read(path, file).await?);
        }
        let text = files.whole(&path).await?.unwrap_or_default();
        let shard = async |name: &str| {
            let path = format!("{component}/{name}");
            match Remote::open(files, &path).await {
                Ok(file) => Ok(file.map(|file| (path, file))),
                Err(fault) => Err(Error::Io { error: told(&path, &fault), path: path.into() }),
            }
        };
        return Ok(Checkpoint::read_index(path, &text, shard).await?);
    }
    Err(Fault::model(format!(
        "{component}: no weights; looked for {}. A model is a folder in the diffusers layout, with weights as \
         safetensors",
        NAMES.join(", ")
    )))
}

/// One safetensors file by itself.
pub async fn file(files: &Rc<Files>, name: &str) -> Result<Checkpoint> {
    let file = Remote::open(files, name).await?;
    Ok(Checkpoint::read(name, file.ok_or_else(|| Fault::model(format!("{name}: no such file")))?).await?)
}
