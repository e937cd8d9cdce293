use crate::source::{Read, TensorInfo, WeightSource, check_range, missing};
use crate::{Error, Header, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// One safetensors file that is in memory already: embedded in the program, or fetched whole.
pub struct Memory {
    place: String,
    bytes: Cow<'static, [u8]>,
    /// What is known of each tensor, or the file's word for an element type that is not supported; and its bytes.
    tensors: BTreeMap<String, (Result<TensorInfo, String>, Range<usize>)>,
    metadata: BTreeMap<String, String>,
}

impl Memory {
    /// Reads the header of a file's bytes; `place` is the file's name in errors.
    pub fn new(place: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let (place, bytes) = (place.into(), bytes.into());
        let header = Header::parse(&place, &bytes, bytes.len() as u64)?;
        let tensors = header.tensors.into_iter().map(|entry| {
            let name = entry.name.clone();
            let info = entry.dtype.map(|dtype| TensorInfo { name: entry.name, dtype, shape: entry.shape });
            (name, (info, entry.range))
        });
        Ok(Self { tensors: tensors.collect(), metadata: header.metadata, place, bytes })
    }

    /// A tensor's bytes, or some of them: [`read`](WeightSource::read) without the future.
    pub fn bytes(&self, name: &str, range: Range<usize>) -> Result<&[u8]> {
        let info = self.get(name)?;
        check_range(info, &range, || self.describe(name))?;
        Ok(&self.bytes[self.tensors[name].1.clone()][range])
    }
}

impl WeightSource for Memory {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        let Some((info, _)) = self.tensors.get(name) else {
            return Err(missing(name, self.describe(name), self.names().into_iter()));
        };
        info.as_ref().map_err(|dtype| Error::UnsupportedDtype {
            tensor: name.into(),
            place: self.describe(name),
            dtype: dtype.clone(),
        })
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().filter(|(_, (info, _))| info.is_ok()).map(|(name, _)| name.as_str()).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(std::future::ready(self.bytes(name, range).map(Cow::Borrowed)))
    }

    fn describe(&self, _name: &str) -> String {
        self.place.clone()
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let memory = Memory::new("here", file()).unwrap();
        assert_eq!(memory.names(), ["a"]);
        assert_eq!(memory.get("a").unwrap().shape, [2]);
        assert_eq!(memory.bytes("a", 4..8).unwrap(), 2.0f32.to_le_bytes());
        let error = memory.get("b").unwrap_err().to_string();
        assert!(error.contains("here: no tensor b"), "{error}");
        assert!(memory.bytes("a", 4..12).is_err());
    }

    #[test]
    fn a_file_cut_short_is_named() {
        let mut bytes = file();
        bytes.pop();
        let error = Memory::new("here", bytes).err().unwrap().to_string();
        assert!(error.contains("here: truncated"), "{error}");
    }
}
