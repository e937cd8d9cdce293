use crate::bytes::Bytes;
use crate::files::{Arrangement, Entry, Header, list};
use crate::{Error, Folder, Result};
use calotype_tensor::{Read, TensorInfo, Tensors};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Tensors in files: in one, or in the shards that an index lists.
///
/// Nothing is read but what the files say of themselves until a tensor is asked for.
#[derive(Clone)]
pub struct Checkpoint {
    /// The file or index that was opened.
    place: String,
    files: Vec<Shard>,
    tensors: BTreeMap<String, Tensor>,
    /// A single file's; shards have none worth reading.
    metadata: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Shard {
    place: String,
    bytes: Rc<dyn Bytes>,
}

#[derive(Clone)]
struct Tensor {
    /// What is known of it, where it is lent.
    info: Option<TensorInfo>,
    entry: Entry,
    /// Which of the files it is in.
    file: usize,
}

impl Tensor {
    fn new(entry: Entry, file: usize) -> Self {
        let info = entry.encoding.lent().map(|dtype| {
            let Entry { name, encoding, shape, .. } = &entry;
            TensorInfo { name: name.clone(), dtype, encoding: *encoding, shape: shape.clone() }
        });
        Self { info, entry, file }
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// Tensor path to shard file.
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads what one file says of its tensors; `place` is its name in errors.
    pub async fn read(place: impl Into<String>, bytes: Rc<dyn Bytes>) -> Result<Self> {
        let place = place.into();
        let Header { tensors, metadata, .. } = list(&place, &*bytes).await?;
        let tensors = tensors.into_iter().map(|entry| (entry.name.clone(), Tensor::new(entry, 0)));
        let tensors = tensors.collect();
        let files = vec![Shard { place: place.clone(), bytes }];
        Ok(Self { place, files, tensors, metadata })
    }

    /// Opens a checkpoint in a folder, where it is there: a file, or an index (`.json`) with its shards beside it.
    pub async fn within(folder: &dyn Folder, path: &str) -> Result<Option<Self>> {
        if path.ends_with(".json") {
            return match folder.read(path).await? {
                Some(text) => Self::read_index(folder, path, &text).await.map(Some),
                None => Ok(None),
            };
        }
        match folder.open(path).await? {
            Some(bytes) => Self::read(folder.place(path), bytes).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the shards that an index lists.
    async fn read_index(folder: &dyn Folder, path: &str, text: &[u8]) -> Result<Self> {
        let place = folder.place(path);
        let index = || PathBuf::from(&place);
        let bad = |why: String| Error::BadIndex { index: index(), why };
        let Index { weight_map } = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &weight_map {
            by_shard.entry(shard).or_default().push(tensor);
        }

        let (mut files, mut tensors, mut unlisted) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (name, listed) in by_shard {
            // A name that leads out of the folder is not one that any exporter writes.
            if Path::new(name).file_name() != Some(name.as_ref()) {
                return Err(bad(format!("shard {name:?} is not a plain file name")));
            }
            let beside =
                path.rsplit_once('/').map_or_else(|| name.into(), |(folder, _)| format!("{folder}/{name}"));
            let Some(bytes) = folder.open(&beside).await? else {
                let tensor = listed[0].to_owned();
                return Err(Error::MissingShard { index: index(), shard: name.into(), tensor });
            };
            let mut shard = Self::read(folder.place(&beside), bytes).await?;
            shard.tensors.values_mut().for_each(|tensor| tensor.file = files.len());
            for tensor in listed {
                let Some(entry) = shard.tensors.remove(tensor) else {
                    return Err(Error::NotInShard {
                        index: index(),
                        shard: name.into(),
                        tensor: tensor.into(),
                    });
                };
                tensors.insert(tensor.to_owned(), entry);
            }
            // diffusers reads whole shards too, whatever the index leaves out.
            unlisted.append(&mut shard.tensors);
            files.append(&mut shard.files);
        }
        unlisted.append(&mut tensors);
        Ok(Self { place, files, tensors: unlisted, metadata: BTreeMap::new() })
    }

    /// What a single file says of itself, beside its tensors.
    pub fn said(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Its tensors as something else: those that are given another name, other axes; and those of no name are left out. What
    /// the file says is of its own names, and is left out too.
    pub(crate) fn relabelled(self, to: impl Fn(Entry) -> Option<Entry>) -> Self {
        let tensors = self.tensors.into_values().filter_map(|Tensor { entry, file, .. }| {
            let tensor = Tensor::new(to(entry)?, file);
            Some((tensor.entry.name.clone(), tensor))
        });
        Self { tensors: tensors.collect(), metadata: BTreeMap::new(), ..self }
    }

    /// Takes another's tensors in, which must be other tensors.
    pub fn join(&mut self, other: Self) -> Result<()> {
        if let Some(tensor) = other.tensors.keys().find(|name| self.tensors.contains_key(*name)) {
            let [first, second] = [self.describe(tensor), other.describe(tensor)];
            return Err(Error::Twice { first, second, tensor: tensor.clone() });
        }
        let before = self.files.len();
        self.files.extend(other.files);
        self.tensors.extend(other.tensors.into_iter().map(|(name, mut tensor)| {
            tensor.file += before;
            (name, tensor)
        }));
        Ok(())
    }

    fn tensor(&self, name: &str) -> calotype_tensor::Result<&Tensor> {
        let missing = || calotype_tensor::Error::missing(name, &self.place, self.names());
        self.tensors.get(name).ok_or_else(missing)
    }
}

/// Files that are mapped.
#[cfg(not(target_arch = "wasm32"))]
impl Checkpoint {
    /// Opens one file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = crate::Mapped::open(path)?;
        pollster::block_on(Self::read(path.display().to_string(), Rc::new(file)))
    }
}

impl Checkpoint {
    /// Reads a file that is in memory; `place` is its name in errors.
    pub fn in_memory(
        place: impl Into<String>,
        bytes: impl Into<std::borrow::Cow<'static, [u8]>>,
    ) -> Result<Self> {
        pollster::block_on(Self::read(place, Rc::new(bytes.into())))
    }
}

impl Tensors for Checkpoint {
    fn get(&self, name: &str) -> calotype_tensor::Result<&TensorInfo> {
        let tensor = self.tensor(name)?;
        let unsupported = || calotype_tensor::Error::Unsupported {
            tensor: name.into(),
            place: self.describe(name),
            encoding: tensor.entry.encoding,
        };
        tensor.info.as_ref().ok_or_else(unsupported)
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(async move {
            let (info, tensor) = (self.get(name)?, self.tensor(name)?);
            info.check(&range, || self.describe(name))?;
            let Shard { place, bytes } = &self.files[tensor.file];
            let failed = |error| Error::Io { path: place.into(), error };
            Ok(tensor.entry.read(&**bytes, range).await.map_err(failed)?)
        })
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        let Tensor { info, entry, file } = self.tensors.get(name)?;
        let Entry { range, .. } = entry;
        let as_it_is = entry.arrangement == Arrangement::Dense && !entry.big_endian && info.is_some();
        let Shard { place, bytes } = &self.files[*file];
        as_it_is.then(|| -> Read<'a> {
            Box::pin(async move {
                let failed = |error| Error::Io { path: place.into(), error };
                Ok(bytes.read(range.clone()).await.map_err(failed)?)
            })
        })
    }

    fn describe(&self, name: &str) -> String {
        self.tensors.get(name).map_or(&self.place, |tensor| &self.files[tensor.file].place).clone()
    }

    fn release(&self, name: &str) {
        if let Some(Tensor { entry, file, .. }) = self.tensors.get(name) {
            self.files[*file].bytes.release(entry.range.clone());
        }
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    /// A file of one f32 tensor `a` of two elements.
    fn file() -> Vec<u8> {
        let json = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json);
        bytes.extend([1.0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()));
        bytes
    }

    #[test]
    fn tensors_are_lent_from_the_bytes() {
        let checkpoint = Checkpoint::in_memory("here", file()).unwrap();
        assert_eq!(checkpoint.names(), ["a"]);
        assert_eq!(checkpoint.get("a").unwrap().shape, [2]);
        assert_eq!(*block_on(checkpoint.read("a", 1..2)).unwrap(), 2.0f32.to_le_bytes());
        let error = checkpoint.get("b").unwrap_err().to_string();
        assert_eq!(error, "here: no tensor b (the nearest name is a)");
        assert!(block_on(checkpoint.read("a", 1..3)).is_err());
    }

    #[test]
    fn a_file_cut_short_is_named() {
        let mut bytes = file();
        bytes.pop();
        let error = Checkpoint::in_memory("here", bytes).err().unwrap().to_string();
        assert!(error.contains("here: truncated"), "{error}");
    }

    #[test]
    fn two_files_are_one_checkpoint_where_their_tensors_are_others() {
        let mut one = Checkpoint::in_memory("one", file()).unwrap();
        let error = one.join(one.clone()).unwrap_err().to_string();
        assert_eq!(error, "one and one both hold a: open one of them");
        let mut other = file();
        other[10] = b'b';
        one.join(Checkpoint::in_memory("other", other).unwrap()).unwrap();
        assert_eq!(one.describe("b"), "other");
        assert_eq!(block_on(one.read_all("b")).unwrap().len(), 8);
    }
}
