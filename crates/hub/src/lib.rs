//! Models from the Hugging Face hub, by name: `owner/name` becomes a folder in the diffusers layout.
//!
//! Only the files that a Stable Diffusion pipeline takes are fetched, halves where the repository has them. They lie in
//! the hub's own cache (`blobs`, `snapshots`, `refs`), which diffusers and other tools share; what is there is used
//! without asking the network. A download that breaks off goes on where it stopped, and a file enters the cache when its
//! size and, for the large ones, its SHA-256 are those that the hub names.

mod client;
mod download;
mod error;
mod needed;

pub use error::Error;

use client::Client;
use download::Download;
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where models come from, and where they are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    offline: bool,
}

/// How far a download is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The file under way, by its path in the repository.
    pub file: &'a str,
    /// Its place among the files that are fetched, from 1.
    pub index: usize,
    /// How many files are fetched.
    pub files: usize,
    /// Bytes of all files that are there.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
    /// Bytes that lay there from a download that broke off.
    pub resumed: u64,
}

/// The hub's own address.
const ENDPOINT: &str = "https://huggingface.co";

/// The branch where nothing else is asked for.
const MAIN: &str = "main";

/// Whether a text could be the name of a model on the hub: `owner/name`, of letters, digits, `-`, `_` and `.`.
pub fn is_name(text: &str) -> bool {
    let good = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        part.chars().all(plain) && part.chars().any(|c| c.is_ascii_alphanumeric())
    };
    text.split_once('/').is_some_and(|(owner, name)| good(owner) && good(name))
}

impl Hub {
    /// As the environment says, with the variables of Hugging Face's own tools: `HF_HUB_CACHE` or `HF_HOME`,
    /// `HF_ENDPOINT`, `HF_TOKEN` (or the file that `hf auth login` writes), `HF_HUB_OFFLINE`.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        // hf-hub needs one or the other to know where its cache is.
        if set("HF_HOME").is_none() && env::home_dir().is_none() {
            return Err(Error::NoHome);
        }
        let home = Cache::from_env();
        let token = set("HF_TOKEN").or_else(|| home.token());
        let cache = set("HF_HUB_CACHE").map_or(home, |path| Cache::new(path.into()));
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let yes = |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache,
            token: token.map(|token| token.trim().into()),
            offline: set("HF_HUB_OFFLINE").is_some_and(yes),
        })
    }

    /// Asks the network for nothing if `offline`; else as the environment says.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline |= offline;
        self
    }

    /// The folder with a model's files, fetched unless they are in the cache. `revision` is a branch, a tag or a commit,
    /// `main` where there is none; `variant`, such as `fp16`, is preferred among a component's weights. `told` hears of
    /// every piece that comes.
    pub fn model(
        &self,
        name: &str,
        revision: Option<&str>,
        variant: Option<&str>,
        told: &mut dyn FnMut(&Progress),
    ) -> Result<PathBuf> {
        let revision = revision.unwrap_or(MAIN);
        let repo = Repo::with_revision(name.into(), RepoType::Model, revision.into());
        let cached = self.cache.repo(repo.clone());
        if let Some(folder) = self.cached(&repo, &cached, variant) {
            return Ok(folder);
        }
        if self.offline {
            return Err(Error::Offline { name: name.into(), cache: self.cache.path().clone() });
        }
        let client = Client::new(&self.endpoint, name, self.token.as_deref());
        let listing = client.list(&repo)?;
        let snapshot = cached.pointer_path(&listing.sha);
        let mut downloads = Vec::new();
        for path in needed::files(name, &listing.files, variant)? {
            if !snapshot.join(&path).exists() {
                let file = client.describe(&repo, &listing.sha, &path)?;
                let blob = cached.blob_path(&file.etag);
                downloads.push(Download { path, blob, file });
            }
        }
        download::all(&client, &downloads, &snapshot, told)?;
        // The last: a reference is to a snapshot that has all that was asked for.
        if !is_commit(revision) {
            cached.create_ref(&listing.sha).map_err(|source| Error::io(self.cache.path(), source))?;
        }
        Ok(snapshot)
    }

    /// A model whose files are in the cache, all that are needed.
    fn cached(&self, repo: &Repo, cached: &CacheRepo, variant: Option<&str>) -> Option<PathBuf> {
        let revision = repo.revision();
        let sha = match is_commit(revision) {
            true => revision.to_owned(),
            false => {
                let refs = self.cache.path().join(repo.folder_name()).join("refs");
                fs::read_to_string(refs.join(revision)).ok()?.trim().to_owned()
            }
        };
        let snapshot = cached.pointer_path(&sha);
        let mut files = Vec::new();
        list(&snapshot, "", &mut files);
        needed::files(&repo.url(), &files, variant).ok().map(|_| snapshot)
    }
}

/// Whether a revision is a commit's full hash.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The paths of the files below a folder, with `/` between their parts. Links whose blob is gone are none.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
        match path.is_dir() {
            true => list(&path, &format!("{name}/"), files),
            false if path.exists() => files.push(name),
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_owner_and_a_name() {
        for name in ["stable-diffusion-v1-5/stable-diffusion-v1-5", "a/b", "A.b_c/d-1.5"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["a", "a/b/c", "/a/b", "./b", "../b", "a/", "/b", "a b/c", "~/m", "C:/m", "a/..", ""] {
            assert!(!is_name(name), "{name}");
        }
    }
}
