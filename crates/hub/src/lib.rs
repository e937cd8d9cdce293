//! Models from the Hugging Face hub, by name: `owner/name` becomes a folder in the diffusers layout.
//!
//! Only the files that a Stable Diffusion pipeline takes are fetched, halves where the repository has them. They lie in
//! the hub's own cache (`blobs`, `snapshots`, `refs`), which diffusers and other tools share; what is there is used
//! without asking the network. A download that breaks off goes on where it stopped, and a file enters the cache when its
//! size and, for the large ones, its SHA-256 are those that the hub names. What huggingface_hub does is the measure:
//! tests/goldens/hub.py asks it.

mod cache;
mod card;
mod client;
mod download;
mod environment;
mod error;
mod expand;
mod needed;
#[cfg(test)]
mod peer;
mod proxy;
mod spelling;
mod url;

pub use card::license;
pub use error::Error;
pub use proxy::Proxy;
pub use spelling::misspelt;

use cache::Repository;
use calotype_models::layout;
use calotype_weights::names;
use client::Client;
use download::Download;
use environment::Environment;
use std::env;
use std::path::PathBuf;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where models come from, and where they are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    environment: Environment,
}

/// How far a download is.
#[derive(Clone, Debug)]
pub struct DownloadProgress<'a> {
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

/// The branch where nothing else is asked for.
const MAIN: &str = "main";

/// Whether a text could be the name of a model on the hub: `owner/name`, of letters, digits, `-`, `_` and `.`, by
/// huggingface_hub's rules (`validate_repo_id`).
pub fn is_name(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let good = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let (first, last) = (part.chars().next(), part.chars().last());
        part.chars().all(plain) && end(first) && end(last) && part.len() <= 96
    };
    let apart = !text.contains("--") && !text.contains("..") && !text.ends_with(".git");
    apart && text.split_once('/').is_some_and(|(owner, name)| good(owner) && good(name))
}

/// A file of weights in a model's repository, `owner/name/path/to/file.safetensors`: the model's name and the file's path.
pub fn file_of(text: &str) -> Option<(&str, &str)> {
    let (at, _) = text.match_indices('/').nth(1)?;
    let (name, path) = (&text[..at], &text[at + 1..]);
    (is_name(name) && layout::is_weights(path) && names::fault(path).is_none()).then_some((name, path))
}

impl Hub {
    /// As the environment says, with the variables of Hugging Face's own tools: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`,
    /// `HF_HOME` or `XDG_CACHE_HOME`; `HF_ENDPOINT`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, `HF_TOKEN_PATH` or the file
    /// that `hf auth login` writes, `HF_HUB_DISABLE_IMPLICIT_TOKEN`; `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`;
    /// `HF_HUB_DISABLE_SYMLINKS`; `HF_HUB_ETAG_TIMEOUT`, `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub fn from_env() -> Result<Self> {
        Ok(Self { environment: Environment::read(&|name: &str| env::var_os(name))? })
    }

    /// Asks the network for nothing if `offline`; else as the environment says.
    pub fn offline(mut self, offline: bool) -> Self {
        self.environment.offline |= offline;
        self
    }

    /// The folder with a model's files, fetched unless they are in the cache. `revision` is a branch, a tag, `refs/pr/N`
    /// or a commit, `main` where there is none; `variant`, such as `fp16`, is preferred among a component's weights.
    /// `told` hears of every piece that comes.
    pub fn model(
        &self,
        name: &str,
        revision: Option<&str>,
        variant: Option<&str>,
        told: &mut dyn FnMut(&DownloadProgress),
    ) -> Result<PathBuf> {
        let model = self.find(name, revision.unwrap_or(MAIN), variant, told);
        model.map_err(|error| error.placed(self.environment.cache_by))
    }

    /// One file of a repository, and the folder that it lies in with the model's card; fetched unless it is in the cache.
    pub fn file(
        &self,
        name: &str,
        path: &str,
        revision: Option<&str>,
        told: &mut dyn FnMut(&DownloadProgress),
    ) -> Result<(PathBuf, PathBuf)> {
        let folder = self.find_file(name, path, revision.unwrap_or(MAIN), told);
        let folder = folder.map_err(|error| error.placed(self.environment.cache_by))?;
        Ok((folder.join(path), folder))
    }

    fn find_file(
        &self,
        name: &str,
        path: &str,
        revision: &str,
        told: &mut dyn FnMut(&DownloadProgress),
    ) -> Result<PathBuf> {
        if let Some(why) = names::fault(revision) {
            return Err(Error::BadRevision { revision: revision.into(), why });
        }
        let cached = self.repository(name);
        let why = match cached.having(path, revision) {
            Ok(folder) => return Ok(folder),
            Err(why) => why,
        };
        if self.environment.offline {
            let name = format!("{name}/{path}");
            return Err(Error::Offline { name, cache: self.environment.cache.clone(), why });
        }
        let client = Client::new(&self.environment, name)?;
        let listing = client.list(revision)?;
        let has = |path: &str| listing.files.iter().any(|file| file == path);
        if !has(path) {
            let weights = listing.files.iter().filter(|file| layout::is_weights(file));
            let found = weights.map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::NoFile { name: name.into(), file: path.into(), found });
        }
        let wanted = [path, layout::CARD].into_iter().filter(|path| has(path)).map(String::from).collect();
        let snapshot = self.fetch(&client, &listing.sha, wanted, told)?;
        cached.refer(revision, &listing.sha)?;
        Ok(snapshot)
    }

    fn find(
        &self,
        name: &str,
        revision: &str,
        variant: Option<&str>,
        told: &mut dyn FnMut(&DownloadProgress),
    ) -> Result<PathBuf> {
        if let Some(why) = names::fault(revision) {
            return Err(Error::BadRevision { revision: revision.into(), why });
        }
        let cached = self.repository(name);
        let why = match cached.whole(name, revision, variant) {
            Ok(folder) => return Ok(folder),
            Err(why) => why,
        };
        if self.environment.offline {
            return Err(Error::Offline { name: name.into(), cache: self.environment.cache.clone(), why });
        }
        let client = Client::new(&self.environment, name)?;
        let listing = client.list(revision)?;
        let needed = needed::files(name, &listing.files, variant)?;
        let snapshot = self.fetch(&client, &listing.sha, needed, told)?;
        cached.lack(&listing.sha, needed::lacking(&listing.files));
        // The last: a reference is to a snapshot that has all that was asked for.
        cached.refer(revision, &listing.sha)?;
        Ok(snapshot)
    }

    fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.environment.cache, name, self.environment.links)
    }

    /// Brings those of a commit's files that are not in its snapshot, which is the answer.
    fn fetch(
        &self,
        client: &Client,
        sha: &str,
        paths: Vec<String>,
        told: &mut dyn FnMut(&DownloadProgress),
    ) -> Result<PathBuf> {
        let cached = self.repository(&client.name);
        let snapshot = cached.snapshot(sha);
        // All names before the first byte.
        for name in &paths {
            if let Some(why) = names::fault(name) {
                let (url, name) = (self.environment.endpoint.clone(), name.clone());
                return Err(Error::UnsafeName { url, kind: "file", name, why });
            }
        }
        let mut downloads = Vec::new();
        for path in paths {
            if !snapshot.join(&path).exists() {
                let file = client.describe(sha, &path)?;
                let blob = cached.blob(&file.etag);
                downloads.push(Download { path, blob, file });
            }
        }
        cached.make()?;
        download::all(client, &downloads, &cached, &snapshot, told)?;
        Ok(snapshot)
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
        assert_eq!(file_of("o/n/v1-5.safetensors"), Some(("o/n", "v1-5.safetensors")));
        assert_eq!(file_of("o/n/vae/x.PT"), Some(("o/n", "vae/x.PT")));
        for text in
            ["o/n", "o/n/x.png", "./o/n.ckpt", "/o/n/x.ckpt", "o/n/../x.ckpt", "o/n.ckpt", "C:/n/x.ckpt"]
        {
            assert_eq!(file_of(text), None, "{text}");
        }
        for name in ["a", "a/b/c", "/a/b", "./b", "../b", "a/", "/b", "a b/c", "~/m", "C:/m", "a/..", ""] {
            assert!(!is_name(name), "{name}");
        }
    }
}
