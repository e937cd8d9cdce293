use crate::cache::{Repository, hex};
use crate::client::{Client, RemoteFile, encoding};
use crate::{DownloadProgress, Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// Requests that may fail one after another without a byte more. One that brought some is followed by the next at once.
const TRIES: u32 = 5;

/// A file to fetch.
pub struct Download {
    /// Its path in the repository.
    pub path: String,
    /// Where its bytes go.
    pub blob: PathBuf,
    /// What the hub says of it.
    pub file: RemoteFile,
}

/// Fetches files and links them into a snapshot.
pub fn all(
    client: &Client,
    downloads: &[Download],
    cached: &Repository,
    snapshot: &Path,
    told: &mut dyn FnMut(&DownloadProgress),
) -> Result<()> {
    let known: u64 = downloads.iter().filter_map(|d| d.file.size).sum();
    let (mut before, mut resumed) = (0, 0);
    for (i, download) in downloads.iter().enumerate() {
        let mut len = download.file.size.unwrap_or(0);
        let mut told = |done, from| {
            resumed += from;
            len = done;
            let (index, files, done) = (i + 1, downloads.len(), before + done);
            // A server need not say how long a file is.
            told(&DownloadProgress {
                file: &download.path,
                index,
                files,
                done,
                total: known.max(done),
                resumed,
            });
        };
        let new = !download.blob.exists();
        if new {
            fetch(client, download, &mut told)?;
        }
        before += len;
        cached.link(&download.blob, &snapshot.join(&download.path), new)?;
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

    fn clear(&mut self) -> Result<()> {
        let again = fs::remove_file(&self.path).and_then(|()| Self::open(self.path.clone()));
        *self = again.map_err(|source| Error::io(&self.path, source))?;
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
    // Of what has no length nobody knows whether it is whole.
    if file.size.is_none_or(|size| out.len > size) && out.len > 0 {
        out.clear()?;
    }
    told(out.len, out.len);
    // What came once and was begun anew is no progress: a server may start again for ever.
    let (mut failed, mut most) = (0, out.len);
    while file.size != Some(out.len) {
        match receive(client, file, &mut out, told) {
            Ok(()) if file.size.is_none_or(|size| size < out.len) => break,
            Ok(()) => {}
            Err(error @ (Error::Network { .. } | Error::Answer { lasting: false, .. })) => {
                failed = if out.len > most { 0 } else { failed + 1 };
                most = most.max(out.len);
                if failed >= TRIES {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(250 * ((1 << failed) - 1)));
            }
            Err(error) => return Err(error),
        }
    }
    let found = hex(&out.hash.finalize());
    let damaged = |what, found: String, expected: String| {
        fs::remove_file(&part).map_err(io)?;
        Err(Error::Damaged { file: format!("{}/{path}", client.name), what, found, expected })
    };
    if let Some(size) = file.size.filter(|&size| size != out.len) {
        return damaged("size", format!("{} bytes", out.len), format!("{size} bytes"));
    }
    if let Some(expected) = file.sha256.as_ref().filter(|expected| !expected.eq_ignore_ascii_case(&found)) {
        return damaged("SHA-256", found, expected.clone());
    }
    fs::rename(&part, blob).map_err(|source| Error::io(blob, source))
}

/// How long the whole file is by an answer with its bytes, or with the refusal of a part of them.
fn whole(answer: &Response<Body>) -> Option<u64> {
    if encoding(answer.headers()).is_some() {
        return None;
    }
    let header = |name| answer.headers().get(name)?.to_str().ok();
    match answer.status() {
        StatusCode::OK => header("content-length"),
        _ => header("content-range")?.rsplit_once('/').map(|(_, whole)| whole),
    }?
    .trim()
    .parse()
    .ok()
}

/// One request's worth of a file. Fails where the connection does.
fn receive(
    client: &Client,
    file: &RemoteFile,
    out: &mut Growing,
    told: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let answer = client.get(file, out.len)?;
    if let (Some(described), Some(sent)) = (file.size, whole(&answer))
        && described != sent
    {
        return Err(Error::Sizes { url: file.url.clone(), described, sent });
    }
    let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
    let goes_on = answer.status() == StatusCode::PARTIAL_CONTENT
        && encoding(answer.headers()).is_none()
        && range.is_some_and(|range| range.starts_with(&format!("bytes {}-", out.len)));
    if out.len > 0 && !goes_on {
        // Some servers give only whole files.
        out.clear()?;
        if answer.status() != StatusCode::OK {
            return Err(client.unreachable(&"the server cannot go on with a file"));
        }
    }
    let mut body = client.body(answer, &file.url)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = body.read(&mut buffer).map_err(|e| client.unreachable(&e))?;
        if count == 0 {
            break;
        }
        out.push(&buffer[..count]).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                path: out.path.clone(),
                needs: file.size.map(|size| size.saturating_sub(out.len)),
            },
            _ => Error::io(&out.path, source),
        })?;
        told(out.len, 0);
        if file.size.is_some_and(|size| out.len > size) {
            // It need not end.
            break;
        }
    }
    match file.size.is_some_and(|size| out.len < size) {
        true => Err(client.unreachable(&"the connection was closed early")),
        false => Ok(()),
    }
}
