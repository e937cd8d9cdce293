//! The folder in which what was learned of devices is kept.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where what was learned of devices is kept: in the cache folder, or a folder of it where that is the user's.
pub(crate) fn folder() -> Option<PathBuf> {
    let own = env::var_os("CALOTYPE_CACHE_DIR").is_some();
    cache_folder().map(|folder| if own { folder } else { folder.join("kernels") })
}

/// Where what may be lost is kept: CALOTYPE_CACHE_DIR, or a folder of ours in the user's cache; none where that is empty or
/// there is no home.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(own) = env::var_os("CALOTYPE_CACHE_DIR") {
        return (!own.is_empty()).then(|| own.into());
    }
    let base = if cfg!(windows) {
        set("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        set("HOME")?.join("Library/Caches")
    } else {
        set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?
    };
    Some(base.join("calotype"))
}

/// Writes a file so that readers see the old or the new one, whole.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let new = file.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, file)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Writes a file, and removes those it takes the place of: of the same adapter, but of another version or other shaders.
/// What a name says up to its first `-` is the adapter.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write(file, bytes)?;
    let adapter = |path: &Path| Some(path.file_name()?.to_str()?.split_once('-')?.0.to_string());
    let folder = file.parent().unwrap_or(Path::new("."));
    for other in fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())) {
        let same_kind = other.extension() == file.extension();
        if same_kind && other != file && adapter(&other) == adapter(file) {
            fs::remove_file(other)?;
        }
    }
    Ok(())
}

/// FNV-1a over words of eight bytes, the last one filled up with zeros, and the length.
pub(crate) fn sum(data: &[u8]) -> u64 {
    let mix = |h: u64, word: u64| (h ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    let word = |part: &[u8]| part.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
    data.chunks(8).map(word).fold(mix(0xcbf2_9ce4_8422_2325, data.len() as u64), mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_takes_the_place_of_the_old_ones() {
        let folder = env::temp_dir().join(format!("calotype-cache-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name);
        for name in ["wgpu_1_2-0.0.9-aa.bin", "wgpu_1_3-0.1.0-bb.bin", "wgpu_1_2-0.1.0-bb.bin"] {
            fs::write(file(name), "old").unwrap();
        }
        fs::write(file("wgpu_1_2-0.0.9-aa.json"), "of another kind").unwrap();
        replace(&file("wgpu_1_2-0.1.0-bb.bin"), b"new").unwrap();
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["wgpu_1_2-0.0.9-aa.json", "wgpu_1_2-0.1.0-bb.bin", "wgpu_1_3-0.1.0-bb.bin"]);
        assert_eq!(fs::read(file("wgpu_1_2-0.1.0-bb.bin")).unwrap(), b"new");
        fs::remove_dir_all(&folder).unwrap();
    }
}
