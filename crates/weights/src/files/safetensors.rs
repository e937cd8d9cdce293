//! safetensors: <https://github.com/huggingface/safetensors#format>.

#[cfg(not(target_arch = "wasm32"))]
use super::entry::Extent;
use super::{Entry, Format, Header, Source};
use crate::{Error, Result};
use calotype_tensor::Encoding;
use safetensors::{Dtype, SafeTensorError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes before the header: its length, as a little-endian u64.
const LENGTH_BYTES: usize = 8;
/// The format allows no longer header; a larger number means that the file is something else.
const LONGEST_HEADER: u64 = 100_000_000;

/// Reads the header, whose beginning `head` is, and checks that the tensors it declares fill the file exactly.
pub async fn list(file: &Source<'_>, head: &[u8]) -> Result<Header> {
    let (place, file_len) = (file.place, file.bytes.size());
    let bad = |why: String| Error::BadHeader { place: place.into(), why };
    let start = span(place, head, file_len)?;
    let json = file.read(LENGTH_BYTES as u64..start).await?;
    let Text { metadata, tensors } = serde_json::from_slice(&json)
        .map_err(|e| unknown_type(place, &json).unwrap_or_else(|| bad(e.to_string())))?;
    let (declared, len) = in_order(tensors).map_err(|e| bad(e.to_string()))?;

    let needs = start.saturating_add(len);
    if needs > file_len {
        return Err(Error::Truncated { place: place.into(), needs, has: file_len });
    }
    if needs < file_len {
        return Err(bad(format!("it accounts for {needs} bytes of the file's {file_len}")));
    }

    let mut tensors = Vec::new();
    for (name, Declared { dtype, shape, data_offsets: (from, to) }) in declared {
        let unknown =
            || Error::UnknownDtype { tensor: name.clone(), place: place.into(), dtype: format!("{dtype:?}") };
        let encoding = encoding(dtype).ok_or_else(unknown)?;
        tensors.push(Entry::dense(name, encoding, shape, start + from..start + to));
    }
    let metadata = metadata.unwrap_or_default();
    Ok(Header { format: Format::Safetensors, tensors, metadata })
}

/// The header's text. The format's own library has places as `usize`, which ends at 4 GiB in WebAssembly, and files do not.
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "__metadata__")]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Declared>,
}

/// What it says of a tensor.
#[derive(Deserialize)]
struct Declared {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Counted from the header's end.
    data_offsets: (u64, u64),
}

/// The tensors as they lie, and the bytes that they take: one begins where another ends, and each has its shape's, as the
/// format's library has it (`Metadata::validate`).
fn in_order(
    tensors: BTreeMap<String, Declared>,
) -> std::result::Result<(Vec<(String, Declared)>, u64), SafeTensorError> {
    let mut tensors: Vec<(String, Declared)> = tensors.into_iter().collect();
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let mut start = 0;
    for (name, Declared { dtype, shape, data_offsets: (from, to) }) in &tensors {
        if *from != start || to < from {
            return Err(SafeTensorError::InvalidOffset(name.clone()));
        }
        start = *to;
        // What is lent is counted in `usize`.
        let numel = shape.iter().try_fold(1usize, |numel, axis| numel.checked_mul(*axis));
        let bits = numel.and_then(|numel| (numel as u64).checked_mul(dtype.bitsize() as u64));
        let bits = bits.ok_or(SafeTensorError::ValidationOverflow)?;
        if !bits.is_multiple_of(8) {
            return Err(SafeTensorError::MisalignedSlice);
        }
        if to - from != bits / 8 {
            return Err(SafeTensorError::TensorInvalidInfo);
        }
    }
    Ok((tensors, start))
}

/// Whether a file begins with a header's length and the header, as far as it goes.
pub fn begins(head: &[u8]) -> bool {
    let length = head.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) <= LONGEST_HEADER);
    length && head.get(LENGTH_BYTES).is_none_or(|&b| b == b'{')
}

/// Where the tensors begin.
fn span(place: &str, head: &[u8], has: u64) -> Result<u64> {
    let length = head.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let needs = length + LENGTH_BYTES as u64;
    if needs > has { Err(Error::Truncated { place: place.into(), needs, has }) } else { Ok(needs) }
}

/// The format's types.
const TYPES: [(Dtype, Encoding); 22] = [
    (Dtype::BOOL, Encoding::Bool),
    (Dtype::U8, Encoding::U8),
    (Dtype::I8, Encoding::I8),
    (Dtype::U16, Encoding::U16),
    (Dtype::I16, Encoding::I16),
    (Dtype::U32, Encoding::U32),
    (Dtype::I32, Encoding::I32),
    (Dtype::U64, Encoding::U64),
    (Dtype::I64, Encoding::I64),
    (Dtype::F16, Encoding::F16),
    (Dtype::BF16, Encoding::BF16),
    (Dtype::F32, Encoding::F32),
    (Dtype::F64, Encoding::F64),
    (Dtype::C64, Encoding::C64),
    (Dtype::F4, Encoding::F4),
    (Dtype::F6_E2M3, Encoding::F6E2M3),
    (Dtype::F6_E3M2, Encoding::F6E3M2),
    (Dtype::F8_E4M3, Encoding::F8E4M3),
    (Dtype::F8_E5M2, Encoding::F8E5M2),
    (Dtype::F8_E8M0, Encoding::F8E8M0),
    (Dtype::F8_E4M3FNUZ, Encoding::F8E4M3Fnuz),
    (Dtype::F8_E5M2FNUZ, Encoding::F8E5M2Fnuz),
];

/// None for a type that the format did not have when this was written.
fn encoding(dtype: Dtype) -> Option<Encoding> {
    TYPES.iter().find(|(one, _)| *one == dtype).map(|(_, encoding)| *encoding)
}

/// The format's type; none for one that it has not.
#[cfg(not(target_arch = "wasm32"))]
pub fn dtype(encoding: Encoding) -> Option<Dtype> {
    TYPES.iter().find(|(_, one)| *one == encoding).map(|(dtype, _)| *dtype)
}

/// What a file begins with that holds these tensors, and the order in which their bytes follow: as the format's own
/// library writes them, so that each begins at a multiple of its element's size.
#[cfg(not(target_arch = "wasm32"))]
pub fn header(tensors: &[Extent<'_>], metadata: &BTreeMap<String, String>) -> (Vec<u8>, Vec<usize>) {
    let rank = |at: &usize| (std::cmp::Reverse(dtype(tensors[*at].encoding)), tensors[*at].name);
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(rank);
    let mut json = BTreeMap::new();
    if !metadata.is_empty() {
        json.insert("__metadata__", serde_json::json!(metadata));
    }
    let mut end = 0;
    for Extent { name, encoding, shape, bytes } in order.iter().map(|at| &tensors[*at]) {
        let (start, dtype) = (end, dtype(*encoding));
        end += bytes;
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        json.insert(name, entry);
    }
    let mut text = serde_json::json!(json).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(LENGTH_BYTES), b' ');
    ([&(text.len() as u64).to_le_bytes()[..], &text].concat(), order)
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
