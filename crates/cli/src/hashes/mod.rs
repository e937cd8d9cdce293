//! The hashes by which sites with models know a file, and pictures' settings name one.

mod known;

use crate::args::GenerateArgs;
use crate::device;
use calotype::{Hashes, lora_name};
use calotype_weights::Mapped;
use calotype_weights::files::{Format, list};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// AUTOMATIC1111's first short hash is of this much, from there on (`model_hash` in its `modules/sd_models.py`).
const OLD_BYTES: u64 = 0x10000;
const OLD_START: u64 = 0x10_0000;
/// As many figures as A1111 writes of a model's.
const AUTO_V2: usize = 10;
/// Bytes of a safetensors file before its header: the header's length.
const LENGTH_BYTES: u64 = 8;

/// A file's hashes by name. AutoV1 is AUTOMATIC1111's old one. AutoV2, the first figures of SHA-256, is what it writes into
/// pictures today. AutoV3 is of a safetensors file's numbers alone (`addnet_hash_safetensors` in its `modules/hashes.py`), so
/// that a file whose metadata changed keeps it.
pub fn of(path: &Path, format: Format) -> io::Result<Vec<(&'static str, String)>> {
    let mut file = File::open(path)?;
    let whole = hash(&mut file, 0, u64::MAX)?;
    let old = hash(&mut file, OLD_START, OLD_BYTES)?;
    let mut hashes = vec![("AutoV1", old[..8].into()), ("AutoV2", whole[..AUTO_V2].into())];
    if format == Format::Safetensors {
        hashes.push(("AutoV3", numbers(&mut file)?[..12].into()));
    }
    hashes.push(("SHA-256", whole));
    Ok(hashes)
}

/// SHA-256 of a safetensors file's numbers.
fn numbers(file: &mut File) -> io::Result<String> {
    let mut length = [0; LENGTH_BYTES as usize];
    file.rewind()?;
    file.read_exact(&mut length)?;
    hash(file, LENGTH_BYTES.saturating_add(u64::from_le_bytes(length)), u64::MAX)
}

/// What pictures' settings call the files by that a picture was drawn with, made while it is drawn.
pub struct Hashing(Option<JoinHandle<Hashes>>);

impl Hashing {
    /// Begins to read the files, where pictures tell of them.
    pub fn begin(args: &GenerateArgs, model: Option<&Path>) -> Self {
        let loras: Vec<_> =
            args.picture.lora.iter().map(|lora| (lora_name(&lora.file), lora.file.clone())).collect();
        let embeddings: Vec<_> = args
            .words
            .embedding
            .iter()
            .map(|word| (device::embedding_name(word), word.file.clone()))
            .collect();
        let model = model.map(Path::to_owned);
        let none = args.no_metadata || model.is_none() && loras.is_empty() && embeddings.is_empty();
        // What cannot be read is told where it is opened.
        let each = |files: Vec<(String, PathBuf)>, of: fn(&Path) -> io::Result<String>| {
            files.into_iter().filter_map(|(name, file)| Some((name, of(&file).ok()?))).collect()
        };
        let all = move || Hashes {
            model: model.and_then(|file| known::of(&file).ok()).map(|hash| hash[..AUTO_V2].into()),
            loras: each(loras, of_lora),
            embeddings: each(embeddings, of_embedding),
        };
        Self((!none).then(|| thread::spawn(all)))
    }

    /// Waits for them.
    pub fn end(self) -> Hashes {
        self.0.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// As many figures as A1111 writes of a LoRA's hash, and of an embedding's.
const SHORT: usize = 12;

/// A LoRA's: what kohya's trainer wrote of its numbers, else AutoV3, else of the whole file (A1111: `network.py` of its
/// extension Lora).
fn of_lora(path: &Path) -> io::Result<String> {
    let place = path.display().to_string();
    let header = Mapped::open(path).and_then(|mapped| pollster::block_on(list(&place, &mapped)));
    let header = header.map_err(io::Error::other)?;
    let said = header.metadata.get("sshs_model_hash").filter(|hash| hash.is_ascii() && hash.len() >= SHORT);
    let whole = match (said, header.format) {
        (Some(said), _) => said.clone(),
        (None, Format::Safetensors) => numbers(&mut File::open(path)?)?,
        (None, _) => return of_embedding(path),
    };
    Ok(whole[..SHORT].into())
}

/// An embedding's: of the whole file.
fn of_embedding(path: &Path) -> io::Result<String> {
    Ok(hash(&mut File::open(path)?, 0, u64::MAX)?[..SHORT].into())
}

/// SHA-256 of so many bytes, or of as many as there are, in figures.
fn hash(file: &mut File, from: u64, bytes: u64) -> io::Result<String> {
    let mut sha = Sha256::new();
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut file.take(bytes), &mut sha)?;
    Ok(sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
