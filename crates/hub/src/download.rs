use crate::client::{Client, Remote};
use crate::{Error, Progress, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::StatusCode;

/// Requests that may fail one after another without a byte more. One that brought some is followed by the next at once.
const TRIES: u32 = 5;

/// A file to fetch.
pub struct Download {
    /// Its path in the repository.
    pub path: String,
    /// Where its bytes go.
    pub blob: PathBuf,
    /// What the hub says of it.
    pub file: Remote,
}

/// Fetches files and links them into a snapshot.
pub fn all(
    client: &Client,
    downloads: &[Download],
    snapshot: &Path,
    told: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let total = downloads.iter().map(|d| d.file.size).sum();
    let (mut before, mut resumed) = (0, 0);
    for (i, download) in downloads.iter().enumerate() {
        let mut told = |done, from| {
            resumed += from;
            let (index, files) = (i + 1, downloads.len());
            told(&Progress { file: &download.path, index, files, done: before + done, total, resumed });
        };
        if !download.blob.exists() {
            make_folder(&download.blob)?;
            fetch(client, download, &mut told)?;
        }
        before += download.file.size;
        link(&download.blob, &snapshot.join(&download.path))?;
    }
    Ok(())
}

/// A file that grows, and the hash of what is in it.
struct Growing {
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Growing {
    /// Opens a file with what is in it already. Of two processes one waits for the other here.
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        // Not every file system can; then two processes may disturb each other, which the hash shows.
        let _ = file.lock();
        let mut hash = Sha256::new();
        let len = io::copy(&mut file, &mut hash)?;
        Ok(Self { path, file, hash, len })
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

/// Brings a file into the cache, going on where an earlier download stopped. `told` is told how many bytes are there,
/// and how many of them were there before.
fn fetch(
    client: &Client,
    Download { path, blob, file }: &Download,
    told: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let mut name = blob.file_name().unwrap_or_default().to_os_string();
    name.push(".incomplete");
    let part = blob.with_file_name(name);
    let io = |source| Error::io(&part, source);
    let mut out = Growing::open(part.clone()).map_err(io)?;
    if blob.exists() {
        // The process that we waited for has fetched it.
        return Ok(());
    }
    if out.len > file.size {
        out.clear().map_err(io)?;
    }
    told(out.len, out.len);
    let mut failed = 0;
    while out.len < file.size {
        let len = out.len;
        match receive(client, file, &mut out, told) {
            Ok(()) => {}
            Err(error @ (Error::Network { .. } | Error::Answer { .. })) => {
                failed = if out.len > len { 0 } else { failed + 1 };
                if failed >= TRIES {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(250 * ((1 << failed) - 1)));
            }
            Err(error) => return Err(error),
        }
    }
    let found: String = out.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let damaged = |what, found: String, expected: String| {
        fs::remove_file(&part).map_err(io)?;
        Err(Error::Damaged { file: format!("{}/{path}", client.name), what, found, expected })
    };
    if out.len != file.size {
        return damaged("size", format!("{} bytes", out.len), format!("{} bytes", file.size));
    }
    if let Some(expected) = file.sha256().filter(|expected| !expected.eq_ignore_ascii_case(&found)) {
        return damaged("SHA-256", found, expected.into());
    }
    fs::rename(&part, blob).map_err(|source| Error::io(blob, source))
}

/// One request's worth of a file. Fails where the connection does.
fn receive(client: &Client, file: &Remote, out: &mut Growing, told: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let answer = client.get(file, out.len)?;
    let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
    let goes_on = answer.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {}-", out.len)));
    if out.len > 0 && !goes_on {
        // Some servers give only whole files.
        out.clear().map_err(|source| Error::io(&out.path, source))?;
        if answer.status() != StatusCode::OK {
            return Ok(());
        }
    }
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = body.read(&mut buffer).map_err(|e| client.unreachable(&e))?;
        if count == 0 {
            break;
        }
        out.push(&buffer[..count]).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: out.path.clone(), needs: file.size.saturating_sub(out.len) }
            }
            _ => Error::io(&out.path, source),
        })?;
        told(out.len, 0);
    }
    match out.len < file.size {
        true => Err(client.unreachable(&"the connection was closed early")),
        false => Ok(()),
    }
}

fn make_folder(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))
}

/// Makes a snapshot's file of a blob: a relative link, or the blob itself where links are not to be had, as
/// huggingface_hub does.
fn link(blob: &Path, pointer: &Path) -> Result<()> {
    if pointer.exists() {
        return Ok(());
    }
    make_folder(pointer)?;
    // A link to a blob that is gone.
    let _ = fs::remove_file(pointer);
    let linked = relative(blob, pointer).is_some_and(|target| symlink(&target, pointer).is_ok());
    match linked {
        true => Ok(()),
        false => fs::rename(blob, pointer).map_err(|source| Error::io(pointer, source)),
    }
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
}
