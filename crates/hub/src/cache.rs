//! The hub's own cache, as huggingface_hub lays it: `models--owner--name` with `blobs` by ETag, `snapshots` by commit,
//! `refs` by branch or tag, and in `.no_exist` what a commit is known not to have.

use crate::{Error, Result, names, needed};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What marks a folder that backups may pass over (bford.info/cachedir).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Models that can be fetched again.\n";

/// One repository's place in the cache.
pub struct Repository {
    cache: PathBuf,
    folder: PathBuf,
    links: bool,
}

impl Repository {
    pub fn new(cache: &Path, name: &str, links: bool) -> Self {
        let folder = cache.join(format!("models--{}", name.replace('/', "--")));
        Self { cache: cache.into(), folder, links }
    }

    /// Where a file's bytes lie. ETags that are no file names go by their hash.
    pub fn blob(&self, etag: &str) -> PathBuf {
        let odd = match cfg!(windows) {
            true => names::windows(etag).is_some(),
            false => etag.contains('/') || etag.chars().any(char::is_control) || [".", ".."].contains(&etag),
        };
        let plain = etag.len() <= 128 && etag.is_ascii() && !odd;
        let name = if plain { etag.to_owned() } else { hex(&Sha256::digest(etag)) };
        self.folder.join("blobs").join(name)
    }

    pub fn snapshot(&self, sha: &str) -> PathBuf {
        self.folder.join("snapshots").join(sha)
    }

    /// The folder with all files of a model, or why it is not there.
    pub fn whole(&self, name: &str, revision: &str, variant: Option<&str>) -> Result<PathBuf, String> {
        if !self.folder.is_dir() {
            return Err("nothing of it is there".into());
        }
        let Some(sha) = self.commit(revision) else {
            let known = list(&self.folder.join("refs")).files;
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(format!("its revision {revision} is not there (revisions that are: {known})"));
        };
        let snapshot = self.snapshot(&sha);
        if !snapshot.is_dir() {
            return Err(format!("of commit {sha}, its revision {revision}, no file is there"));
        }
        let Listed { files, dangling } = list(&snapshot);
        let all = [files, dangling.clone()].concat();
        let (needed, missing) = needed::select(name, &all, variant);
        let mut faults: Vec<String> =
            missing.into_iter().map(|(file, _)| format!("{file} is missing")).collect();
        let lost = needed.iter().filter(|file| dangling.contains(file));
        faults.extend(lost.map(|file| format!("{file} is a link to a file that is gone")));
        match faults.is_empty() {
            true => Ok(snapshot),
            false => Err(faults.join(", ")),
        }
    }

    /// The snapshot that has a file, or why there is none.
    pub fn having(&self, path: &str, revision: &str) -> Result<PathBuf, String> {
        let sha = self.commit(revision).ok_or_else(|| format!("its revision {revision} is not there"))?;
        let snapshot = self.snapshot(&sha);
        let file = snapshot.join(path);
        match file.symlink_metadata() {
            _ if file.is_file() => Ok(snapshot),
            Ok(_) => Err("it is a link to a file that is gone".into()),
            Err(_) => Err(format!("of its revision {revision} other files are there, or none")),
        }
    }

    /// The commit of a revision, where the cache knows it.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.into());
        }
        let sha = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(sha.trim().to_owned()).filter(|sha| names::part(sha).is_none())
    }

    /// Writes down which commit a revision is.
    pub fn refer(&self, revision: &str, sha: &str) -> Result<()> {
        if revision == sha || self.commit(revision).as_deref() == Some(sha) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        make_folder(&path)?;
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}.tmp", std::process::id()));
        let write = || fs::write(&new, sha).and_then(|()| fs::rename(&new, &path));
        write().map_err(|source| Error::io(&path, source))
    }

    /// Writes down what a commit does not have; other tools ask the hub otherwise. Nothing is lost where that fails.
    pub fn lack<'a>(&self, sha: &str, files: impl Iterator<Item = &'a str>) {
        for file in files {
            let path = self.folder.join(".no_exist").join(sha).join(file);
            if !path.exists() && make_folder(&path).is_ok() {
                let _ = fs::File::create(&path);
            }
        }
    }

    /// Makes the cache's folders for a download.
    pub fn make(&self) -> Result<()> {
        make_folder(&self.blob("x"))?;
        let tag = self.cache.join("CACHEDIR.TAG");
        if !tag.exists() {
            let _ = fs::write(tag, TAG);
        }
        Ok(())
    }

    /// Makes a snapshot's file of a blob: a relative link, or where links are not to be had the blob itself if it is
    /// `new`, else a copy, since others may lead to it.
    pub fn link(&self, blob: &Path, pointer: &Path, new: bool) -> Result<()> {
        if pointer.exists() {
            return Ok(());
        }
        make_folder(pointer)?;
        // A link to a blob that is gone.
        let _ = fs::remove_file(pointer);
        if let Some(target) = relative(blob, pointer).filter(|_| self.links) {
            let _ = symlink(&target, pointer);
        }
        // Another process may be as far; and what makes links does not follow them everywhere.
        if pointer.exists() {
            return Ok(());
        }
        let _ = fs::remove_file(pointer);
        let put = if new { fs::rename(blob, pointer) } else { fs::copy(blob, pointer).map(drop) };
        put.map_err(|source| Error::io(pointer, source))
    }
}

/// Whether a revision is a commit's full hash.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn make_folder(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))
}

/// The files below a folder, by paths with `/` between their parts.
#[derive(Default)]
struct Listed {
    files: Vec<String>,
    /// Links whose file is gone.
    dangling: Vec<String>,
}

fn list(folder: &Path) -> Listed {
    fn walk(folder: &Path, prefix: &str, to: &mut Listed) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
            match path.metadata() {
                Ok(is) if is.is_dir() => walk(&path, &format!("{name}/"), to),
                Ok(_) => to.files.push(name),
                Err(_) => to.dangling.push(name),
            }
        }
    }
    let mut listed = Listed::default();
    walk(folder, "", &mut listed);
    listed.files.sort();
    listed
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The way from a link's folder to a file, where they share the beginning of their paths.
fn relative(file: &Path, link: &Path) -> Option<PathBuf> {
    let folder = link.parent()?;
    let shared = folder.ancestors().find(|above| file.starts_with(above))?;
    let up = folder.strip_prefix(shared).ok()?.components().count();
    let mut way: PathBuf = std::iter::repeat_n("..", up).collect();
    way.push(file.strip_prefix(shared).ok()?);
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_so_that_a_cache_can_be_moved() {
        let way = relative(Path::new("/c/m/blobs/ab"), Path::new("/c/m/snapshots/1/unet/config.json"));
        assert_eq!(way.as_deref(), Some(Path::new("../../../blobs/ab")));
    }

    #[test]
    fn any_etag_has_a_blob_in_its_folder() {
        let at = Repository::new(Path::new("/c"), "o/n", true);
        let blobs = Path::new("/c/models--o--n/blobs");
        for plain in ["d41d8cd98f-1", "5f3b-61a", "a b", "$x#{}~"] {
            assert_eq!(at.blob(plain), blobs.join(plain));
        }
        let long = "a".repeat(300);
        for odd in ["../../x", "/etc/x", "a/b==", "..", "a\0b", "\u{e9}", &long] {
            let name = at.blob(odd).strip_prefix(blobs).unwrap().to_string_lossy().into_owned();
            assert!(name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{odd}: {name}");
        }
    }
}
