use crate::source::{Read, TensorInfo, WeightSource, missing};
use crate::{Entry, Header, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// One safetensors file that is in memory already: embedded in the program, or fetched whole.
pub struct Memory {
    place: String,
    bytes: Cow<'static, [u8]>,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl Memory {
    /// Reads the header of a file's bytes; `place` is the file's name in errors.
    pub fn new(place: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        let (place, bytes) = (place.into(), bytes.into());
        let header = Header::parse(&place, &bytes, bytes.len() as u64)?;
        let tensors = header.tensors.into_iter().map(|entry| (entry.name.clone(), entry));
        Ok(Self { tensors: tensors.collect(), metadata: header.metadata, place, bytes })
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let missing = || missing(name, self.place.clone(), self.names().into_iter());
        self.tensors.get(name).ok_or_else(missing)
    }

    /// A tensor's bytes, or some of them: [`read`](WeightSource::read) without the future.
    pub fn bytes(&self, name: &str, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        let entry = self.entry(name)?;
        let range = entry.locate(&range, || self.place.clone())?;
        Ok(entry.lend(Cow::Borrowed(&self.bytes[range])))
    }
}

impl WeightSource for Memory {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        self.entry(name)?.info(|| self.place.clone())
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(std::future::ready(self.bytes(name, range)))
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
        assert_eq!(*memory.bytes("a", 4..8).unwrap(), 2.0f32.to_le_bytes());
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
