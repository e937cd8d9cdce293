use crate::source::{TensorInfo, check_range};
use crate::{Error, Result, Stored};
use safetensors::{Dtype, tensor::Metadata};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes before the header: its length, as a little-endian u64.
const LENGTH_BYTES: usize = 8;
/// The format allows no longer header; a larger number means that the file is something else.
const LONGEST_HEADER: u64 = 100_000_000;

/// One tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// What is known of it, or how it is stored where its numbers cannot be read.
    pub info: Result<TensorInfo, Stored>,
    /// Its bytes, counted from the start of the file.
    pub range: Range<usize>,
}

impl Entry {
    fn new(name: String, dtype: Dtype, shape: Vec<usize>, range: Range<usize>) -> Self {
        let stored = Stored::from(dtype);
        let info = |dtype| TensorInfo { name: name.clone(), dtype, stored, shape };
        Self { info: stored.lent().map(info).ok_or(stored), name, range }
    }

    /// What is known of it; `place` is its file.
    pub fn info(&self, place: impl FnOnce() -> String) -> Result<&TensorInfo> {
        self.info.as_ref().map_err(|stored| Error::UnsupportedDtype {
            tensor: self.name.clone(),
            place: place(),
            dtype: stored.name(),
        })
    }

    /// Where in the file the elements are that `range` covers, which counts bytes as they are lent.
    pub fn locate(&self, range: &Range<usize>, place: impl Fn() -> String) -> Result<Range<usize>> {
        let info = self.info(&place)?;
        check_range(info, range, place)?;
        let at = |byte: usize| self.range.start + byte / info.dtype.size() * info.stored.size();
        Ok(at(range.start)..at(range.end))
    }

    /// The file's bytes of whole elements, as they are lent.
    pub fn lend<'a>(&self, bytes: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        self.info.as_ref().map_or_else(|stored| *stored, |info| info.stored).lend(bytes)
    }
}

/// What a safetensors file says about itself in its first bytes.
/// Format: <https://github.com/huggingface/safetensors#format>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of their bytes. They fill the file without gaps.
    pub tensors: Vec<Entry>,
    /// What it says of itself beside them (`__metadata__`).
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// How many bytes from the start of the file [`parse`](Self::parse) needs, from at least its first eight.
    /// `place` names the file in errors; `file_len` is its whole length.
    pub fn span(place: &str, head: &[u8], file_len: u64) -> Result<usize> {
        let not = |why: &str| Error::NotSafetensors { place: place.into(), why: why.into() };
        let Some(length) = head.first_chunk::<LENGTH_BYTES>() else {
            return Err(match file_len {
                0 => not("it is empty"),
                has => Error::Truncated { place: place.into(), needs: LENGTH_BYTES as u64, has },
            });
        };
        let header_len = u64::from_le_bytes(*length);
        if header_len > LONGEST_HEADER || head.get(LENGTH_BYTES).is_some_and(|&b| b != b'{') {
            return Err(not(guess(head)));
        }
        let needs = header_len + LENGTH_BYTES as u64;
        if needs > file_len {
            return Err(Error::Truncated { place: place.into(), needs, has: file_len });
        }
        Ok(needs as usize)
    }

    /// Reads the header from the file's first [`span`](Self::span) bytes (more do no harm) and checks that the
    /// tensors it declares fill the file exactly.
    pub fn parse(place: &str, head: &[u8], file_len: u64) -> Result<Self> {
        let bad = |why: String| Error::BadHeader { place: place.into(), why };
        let start = Self::span(place, head, file_len)?;
        let json = head.get(LENGTH_BYTES..start).ok_or_else(|| bad("not all of it was fetched".into()))?;
        let metadata: Metadata = serde_json::from_slice(json)
            .map_err(|e| unknown_type(place, json).unwrap_or_else(|| bad(e.to_string())))?;

        let needs = (start as u64).saturating_add(metadata.data_len() as u64);
        if needs > file_len {
            return Err(Error::Truncated { place: place.into(), needs, has: file_len });
        }
        if needs < file_len {
            return Err(bad(format!("it accounts for {needs} bytes of the file's {file_len}")));
        }

        let entry = |name: String| {
            let info = metadata.info(&name)?;
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            Some(Entry::new(name, info.dtype, info.shape.clone(), range))
        };
        let tensors = metadata.offset_keys().into_iter().filter_map(entry).collect();
        Ok(Self { tensors, metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect() })
    }
}

/// The error for a header whose first fault is an element type that the format did not have when this was written.
fn unknown_type(place: &str, json: &[u8]) -> Option<Error> {
    let tensors: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
    tensors.into_iter().find_map(|(tensor, fields)| {
        let dtype = fields.get("dtype")?.as_str()?;
        let known = serde_json::from_value::<Dtype>(dtype.into()).is_ok();
        (!known).then(|| Error::UnknownDtype { tensor, place: place.into(), dtype: dtype.into() })
    })
}

/// What stands in a file's place after the usual mishaps of a download, told by its first bytes; nothing where it may be
/// the file itself.
pub fn mishap(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            Some("it is a Git LFS pointer; fetch the real file with `git lfs pull`")
        }
        [b'<', ..] => Some("it is a web page; the download needs another address or a login"),
        _ => None,
    }
}

/// What a file that is not safetensors looks like.
fn guess(head: &[u8]) -> &'static str {
    if let Some(what) = mishap(head) {
        return what;
    }
    match head {
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => "it is a PyTorch pickle under another name",
        [b'G', b'G', b'U', b'F', ..] => "it is a GGUF file",
        [b'{', ..] => "it is JSON",
        _ => "its first bytes are not a header's",
    }
}
