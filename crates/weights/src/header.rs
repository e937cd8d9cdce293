use crate::{Error, Result};
use calotype_tensor::DType;
use safetensors::{Dtype, tensor::Metadata};
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
    /// Its element type, or the file's word for one that is not supported.
    pub dtype: Result<DType, String>,
    /// Its axes, as stored.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    pub range: Range<usize>,
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
        let metadata: Metadata = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;

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
            Some(Entry { dtype: dtype(info.dtype), shape: info.shape.clone(), range, name })
        };
        let tensors = metadata.offset_keys().into_iter().filter_map(entry).collect();
        Ok(Self { tensors, metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect() })
    }
}

fn dtype(stored: Dtype) -> Result<DType, String> {
    match stored {
        Dtype::F32 => Ok(DType::F32),
        Dtype::F16 => Ok(DType::F16),
        Dtype::BF16 => Ok(DType::BF16),
        Dtype::U32 => Ok(DType::U32),
        other => Err(other.to_string().to_lowercase()),
    }
}

/// What a file that is not safetensors looks like: the usual mishaps.
fn guess(head: &[u8]) -> &'static str {
    match head {
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            "it is a Git LFS pointer; fetch the real file with `git lfs pull`"
        }
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => "it is a PyTorch pickle under another name",
        [b'G', b'G', b'U', b'F', ..] => "it is a GGUF file",
        [b'<', ..] => "it is a web page; the download needs another address or a login",
        [b'{', ..] => "it is JSON",
        _ => "its first bytes are not a header's",
    }
}
