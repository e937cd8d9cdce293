use crate::source::{Read, TensorInfo, WeightSource, missing};
use crate::{Entry, Error, Header, Result, find_checkpoint};
use memmap2::Mmap;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Safetensors files mapped into memory: one file, or the shards that an index lists.
///
/// Nothing is read but headers until a tensor is asked for, and then it is borrowed from the map. The files must
/// not be cut short by others while they are open: the operating system then ends the process (SIGBUS).
pub struct Safetensors {
    /// The file or index that was opened.
    path: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Tensor>,
    /// A single file's; shards have none worth reading.
    metadata: BTreeMap<String, String>,
}

struct Shard {
    path: PathBuf,
    map: Mmap,
}

struct Tensor {
    entry: Entry,
    shard: usize,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// Tensor path to shard file.
    weight_map: BTreeMap<String, String>,
}

impl Safetensors {
    /// Opens a component's folder, choosing as [`find_checkpoint`] does.
    pub fn open_folder(folder: impl AsRef<Path>, prefer: Option<&str>) -> Result<Self> {
        let checkpoint = find_checkpoint(folder.as_ref(), prefer)?;
        match checkpoint.sharded {
            true => Self::open_index(checkpoint.path),
            false => Self::open(checkpoint.path),
        }
    }

    /// Opens one `.safetensors` file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (shard, tensors, metadata) = map(&path, 0)?;
        Ok(Self { path, shards: vec![shard], tensors, metadata })
    }

    /// Opens the shards that a `.safetensors.index.json` lists; they lie beside it.
    pub fn open_index(path: impl Into<PathBuf>) -> Result<Self> {
        let index = path.into();
        let bad = |why: String| Error::BadIndex { index: index.clone(), why };
        let text = fs::read(&index).map_err(|error| Error::Io { path: index.clone(), error })?;
        let Index { weight_map } = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;

        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &weight_map {
            by_shard.entry(shard).or_default().push(tensor);
        }

        let (mut shards, mut tensors, mut unlisted) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (name, listed) in by_shard {
            // A name that leads out of the folder is not one that any exporter writes.
            if Path::new(name).file_name() != Some(name.as_ref()) {
                return Err(bad(format!("shard {name:?} is not a plain file name")));
            }
            let path = index.with_file_name(name);
            if !path.is_file() {
                let tensor = listed[0].to_owned();
                return Err(Error::MissingShard { index, shard: name.into(), tensor });
            }
            let (shard, mut found, _) = map(&path, shards.len())?;
            for tensor in listed {
                let Some(entry) = found.remove(tensor) else {
                    return Err(Error::NotInShard { index, shard: name.into(), tensor: tensor.into() });
                };
                tensors.insert(tensor.to_owned(), entry);
            }
            // diffusers reads whole shards too, whatever the index leaves out.
            unlisted.extend(found);
            shards.push(shard);
        }
        unlisted.append(&mut tensors);
        Ok(Self { path: index, shards, tensors: unlisted, metadata: BTreeMap::new() })
    }

    /// The file or index that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A tensor's bytes, or some of them, borrowed from the map where they are lent as they are stored:
    /// [`read`](WeightSource::read) without the future.
    pub fn bytes(&self, name: &str, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        let Tensor { entry, shard } = self.tensor(name)?;
        let range = entry.locate(&range, || self.describe(name))?;
        Ok(entry.lend(Cow::Borrowed(&self.shards[*shard].map[range])))
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        let missing = || missing(name, self.describe(name), self.names().into_iter());
        self.tensors.get(name).ok_or_else(missing)
    }
}

/// A file mapped, its tensors, and what it says of itself.
type Mapped = (Shard, BTreeMap<String, Tensor>, BTreeMap<String, String>);

/// Maps a file and reads its header; the tensors are `shard`'s.
fn map(path: &Path, shard: usize) -> Result<Mapped> {
    let io = |error| Error::Io { path: path.into(), error };
    // Looked at before it is opened, for opening a FIFO waits for its writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::NotAFile(path.into()));
    }
    let file = File::open(path).map_err(io)?;
    let place = path.display().to_string();
    // An empty file cannot be mapped everywhere.
    let len = file.metadata().map_err(io)?.len();
    if len == 0 {
        Header::span(&place, &[], 0)?;
    }
    // SAFETY: the map is read-only and lends plain bytes. That nobody cuts the file short meanwhile is documented.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    let header = Header::parse(&place, &map, map.len() as u64)?;
    let tensors = header.tensors.into_iter().map(|entry| (entry.name.clone(), Tensor { entry, shard }));
    Ok((Shard { path: path.into(), map }, tensors.collect(), header.metadata))
}

impl WeightSource for Safetensors {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        self.tensor(name)?.entry.info(|| self.describe(name))
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(std::future::ready(self.bytes(name, range)))
    }

    fn describe(&self, name: &str) -> String {
        let path = self.tensors.get(name).map_or(&self.path, |tensor| &self.shards[tensor.shard].path);
        path.display().to_string()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    #[cfg(unix)]
    fn release(&self, name: &str) {
        let Some(Tensor { entry, shard }) = self.tensors.get(name).filter(|t| !t.entry.range.is_empty())
        else {
            return;
        };
        let map = &self.shards[*shard].map;
        let advice = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: a read-only map of a file; pages given back are read from the file again when touched.
        // It is advice: where it is not taken nothing is lost.
        let _ = unsafe { map.unchecked_advise_range(advice, entry.range.start, entry.range.len()) };
    }
}
