//! The hashes by which sites with models know a file, and pictures' settings name one.

use calotype_weights::files::Format;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// AUTOMATIC1111's first short hash is of this much, from there on (`model_hash` in its `modules/sd_models.py`).
const OLD_BYTES: u64 = 0x10000;
const OLD_START: u64 = 0x10_0000;
/// Bytes of a safetensors file before its header: the header's length.
const LENGTH_BYTES: u64 = 8;

/// A file's hashes by name. AutoV1 is AUTOMATIC1111's old one. AutoV2, the first figures of SHA-256, is what it writes into
/// pictures today. AutoV3 is of a safetensors file's numbers alone (`addnet_hash_safetensors` in its `modules/hashes.py`), so
/// that a file whose metadata changed keeps it.
pub fn of(path: &Path, format: Format) -> io::Result<Vec<(&'static str, String)>> {
    let mut file = File::open(path)?;
    let whole = hash(&mut file, 0, u64::MAX)?;
    let old = hash(&mut file, OLD_START, OLD_BYTES)?;
    let mut hashes = vec![("AutoV1", old[..8].into()), ("AutoV2", whole[..10].into())];
    if format == Format::Safetensors {
        let mut length = [0; LENGTH_BYTES as usize];
        file.rewind()?;
        file.read_exact(&mut length)?;
        let numbers = hash(&mut file, LENGTH_BYTES + u64::from_le_bytes(length), u64::MAX)?;
        hashes.push(("AutoV3", numbers[..12].into()));
    }
    hashes.push(("SHA-256", whole));
    Ok(hashes)
}

/// SHA-256 of so many bytes, or of as many as there are, in figures.
fn hash(file: &mut File, from: u64, bytes: u64) -> io::Result<String> {
    let mut sha = Sha256::new();
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut file.take(bytes), &mut sha)?;
    Ok(sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
