//! Hashes of models that were read before: a model takes seconds to read, so its hash is kept in the cache folder, with what tells
//! that the file is still the same.

use super::hash;
use calotype::{cache_folder, image};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What is kept of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    file: PathBuf,
    bytes: u64,
    modified: SystemTime,
    sha256: String,
}

/// Files that this run has hashed: a sheet's cells are of the same models, and there may be no cache folder.
static HASHED: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());

/// SHA-256 of a file, in figures.
pub fn of(file: &Path) -> io::Result<String> {
    let mut hashed = HASHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = hashed.get(file) {
        return Ok(known.clone());
    }
    let sha256 = within(cache_folder().map(|folder| folder.join("hashes")).as_deref(), file)?;
    hashed.insert(file.to_owned(), sha256.clone());
    Ok(sha256)
}

fn within(folder: Option<&Path>, file: &Path) -> io::Result<String> {
    let file = file.canonicalize()?;
    let about = fs::metadata(&file)?;
    let (bytes, modified) = (about.len(), about.modified()?);
    let name = Sha256::digest(file.as_os_str().as_encoded_bytes());
    let name: String = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let place = folder.map(|folder| folder.join(format!("{name}.json")));
    let kept = place.as_ref().and_then(|place| serde_json::from_slice::<Known>(&fs::read(place).ok()?).ok());
    let same = |known: &Known| known.file == file && known.bytes == bytes && known.modified == modified;
    if let Some(known) = kept.filter(same).filter(|known| known.sha256.len() == 64 && known.sha256.is_ascii())
    {
        return Ok(known.sha256);
    }
    let sha256 = hash(&mut File::open(&file)?, 0, u64::MAX)?;
    if let (Some(place), Some(folder)) = (place, folder) {
        let known = Known { file, bytes, modified, sha256: sha256.clone() };
        let kept = serde_json::to_vec(&known).map_err(io::Error::other).and_then(|text| {
            fs::create_dir_all(folder)?;
            image::write(&place, &text, true).map_err(io::Error::other)
        });
        // It can be read again.
        kept.unwrap_or_else(|e| log::debug!("{}: the hash is not kept: {e}", place.display()));
    }
    Ok(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cache) = (folder.path().join("model.safetensors"), folder.path().join("hashes"));
        fs::write(&file, "one").unwrap();
        let of = || within(Some(&cache), &file).unwrap();
        let sha =
            |text: &str| -> String { Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect() };
        assert_eq!(of(), sha("one"));
        // What is kept is what is told, as long as the file seems to be the same.
        let kept = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&kept).unwrap();
        fs::write(&kept, text.replace(&sha("one"), &sha("kept"))).unwrap();
        assert_eq!(of(), sha("kept"));
        fs::write(&file, "longer").unwrap();
        assert_eq!(of(), sha("longer"));
        // What is damaged is made anew.
        fs::write(&kept, "{").unwrap();
        assert_eq!(of(), sha("longer"));
        assert_eq!(within(None, &file).unwrap(), sha("longer"));
        fs::remove_file(&file).unwrap();
        assert!(within(Some(&cache), &file).is_err());
    }
}
