//! A checkpoint whose tensors are fetched one by one, so that no model is ever whole in WebAssembly's memory.

use crate::fault::{Fault, Result};
use crate::files::Files;
use calotype_weights::{Entry, Error, Header, Read, TensorInfo, WeightSource};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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

/// The safetensors files of one component.
#[derive(Clone)]
pub struct Remote {
    files: Rc<Files>,
    place: String,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Clone)]
struct Tensor {
    entry: Entry,
    path: String,
}

impl Remote {
    /// Finds a component's weights and reads their headers.
    pub async fn open(files: &Rc<Files>, component: &str) -> Result<Self> {
        for name in NAMES {
            let path = format!("{component}/{name}");
            let Some(size) = files.size(&path).await? else { continue };
            let mut remote = Self { files: files.clone(), place: path.clone(), tensors: BTreeMap::new() };
            match name.ends_with(".json") {
                true => remote.add_shards(component, &path).await?,
                false => remote.add(&path, size).await?,
            }
            return Ok(remote);
        }
        Err(Fault::model(format!(
            "{component}: no weights; looked for {}. A model is a folder in the diffusers layout, with weights as \
             safetensors",
            NAMES.join(", ")
        )))
    }

    /// One safetensors file by itself.
    pub async fn file(files: &Rc<Files>, name: &str) -> Result<Self> {
        let size = files.size(name).await?.ok_or_else(|| Fault::model(format!("{name}: no such file")))?;
        let mut remote = Self { files: files.clone(), place: name.into(), tensors: BTreeMap::new() };
        remote.add(name, size).await?;
        Ok(remote)
    }

    /// Takes another file's tensors in, which must be other tensors.
    pub fn join(&mut self, other: Self) -> Result<()> {
        if let Some(name) = other.tensors.keys().find(|name| self.tensors.contains_key(*name)) {
            return Err(Fault::model(format!(
                "{} and {} both hold {name}: open one of them",
                self.place, other.place
            )));
        }
        self.tensors.extend(other.tensors);
        Ok(())
    }

    /// How many of the tensors of `other` have a name that is known here.
    pub fn shared(&self, other: &Self) -> usize {
        other.tensors.keys().filter(|name| self.tensors.contains_key(*name)).count()
    }

    /// A tensor's name, if there is a tensor.
    pub fn any_name(&self) -> Option<&str> {
        self.tensors.keys().next().map(String::as_str)
    }

    /// Whether a tensor's name begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// The files that a sharded checkpoint's index names.
    async fn add_shards(&mut self, component: &str, index: &str) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = self.files.whole(index).await?.unwrap_or_default();
        let Index { weight_map } =
            serde_json::from_slice(&text).map_err(|e| Fault::model(format!("{index}: {e}")))?;
        for shard in weight_map.values().collect::<BTreeSet<_>>() {
            let path = format!("{component}/{shard}");
            let size = self.files.size(&path).await?;
            let size = size.ok_or_else(|| Fault::model(format!("{index}: shard {shard} is missing")))?;
            self.add(&path, size).await?;
        }
        Ok(())
    }

    async fn add(&mut self, path: &str, size: u64) -> Result<()> {
        let head = self.files.read(path, 0, size.min(16)).await?;
        let span = Header::span(path, &head, size)?;
        let head = self.files.read(path, 0, span as u64).await?;
        for entry in Header::parse(path, &head, size)?.tensors {
            self.tensors.insert(entry.name.clone(), Tensor { entry, path: path.into() });
        }
        Ok(())
    }
}

impl Remote {
    fn tensor(&self, name: &str) -> std::result::Result<&Tensor, Error> {
        let missing =
            || Error::Missing { tensor: name.into(), place: self.place.clone(), hint: String::new() };
        self.tensors.get(name).ok_or_else(missing)
    }
}

impl WeightSource for Remote {
    fn get(&self, name: &str) -> std::result::Result<&TensorInfo, Error> {
        let Tensor { entry, path } = self.tensor(name)?;
        entry.info(|| path.clone())
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(async move {
            let Tensor { entry, path } = self.tensor(name)?;
            let range = entry.locate(&range, || path.clone())?;
            let read = self.files.read(path, range.start as u64, range.end as u64).await;
            let failed =
                |fault: Fault| Error::Io { path: path.into(), error: io::Error::other(fault.to_string()) };
            Ok(entry.lend(Cow::Owned(read.map_err(failed)?)))
        })
    }

    fn describe(&self, name: &str) -> String {
        self.tensors.get(name).map_or(&self.place, |tensor| &tensor.path).clone()
    }
}
