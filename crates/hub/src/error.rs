use std::io;
use std::path::{Path, PathBuf};

/// Why a model could not be had from the hub. Each message is one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody of that name is known, or the hub does not say so to strangers.
    #[error(
        "there is no folder {name} here and no model of that name at {endpoint}, or it is private: check the name, or \
         set HF_TOKEN to a token that may read it"
    )]
    NoModel {
        /// `owner/name`.
        name: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The owner wants terms to be accepted first.
    #[error(
        "{name} is gated: accept its terms at {endpoint}/{name}, make a token at {endpoint}/settings/tokens, and set \
         HF_TOKEN to it"
    )]
    Gated {
        /// `owner/name`.
        name: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The token is not one.
    #[error(
        "{endpoint} does not accept the token of HF_TOKEN or of `hf auth login`: make another, or unset it"
    )]
    BadToken {
        /// The hub's address.
        endpoint: String,
    },
    /// The model is there, but not that branch, tag or commit.
    #[error("{name} has no revision {revision}: {endpoint}/{name}/tree/main lists its branches")]
    NoRevision {
        /// `owner/name`.
        name: String,
        /// What was asked for.
        revision: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The repository is not a model in the diffusers layout.
    #[error(
        "{name}: no {file}: only Stable Diffusion repositories in the diffusers layout are read (model_index.json \
         beside scheduler, tokenizer, text_encoder, unet and vae)"
    )]
    NotDiffusers {
        /// `owner/name`.
        name: String,
        /// What is missing.
        file: String,
    },
    /// The repository's weights cannot be read.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// The hub answered with something else than the file.
    #[error("{url}: the server answered {answer}{hint}")]
    Answer {
        /// What was asked for.
        url: String,
        /// Status or defect.
        answer: String,
        /// The way out, where there is one.
        hint: &'static str,
    },
    /// No answer at all.
    #[error(
        "cannot reach {endpoint} ({why}): try again, what came is kept; or fetch the files of {name} on another machine \
         (model_index.json, scheduler, tokenizer, text_encoder, unet, vae) and give their folder with -m FOLDER"
    )]
    Network {
        /// `owner/name`.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The network is not to be asked.
    #[error(
        "{name} is not in the cache {} (not whole, at least), and --offline or HF_HUB_OFFLINE forbids to fetch it",
        cache.display()
    )]
    Offline {
        /// `owner/name`.
        name: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// What came is not what the hub had announced.
    #[error(
        "{file}: the download is damaged: {what} {found}, and the hub says {expected}; it was removed: try again"
    )]
    Damaged {
        /// The file, as `owner/name/path`.
        file: String,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// What came.
        found: String,
        /// What was announced.
        expected: String,
    },
    /// The disk is full.
    #[error(
        "{}: the disk is full, and {needs} bytes are still to come: make room, or set HF_HUB_CACHE to a folder \
         elsewhere; what came is kept",
        path.display()
    )]
    DiskFull {
        /// The file that was written.
        path: PathBuf,
        /// Bytes still to come.
        needs: u64,
    },
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said. In the message already, so no [`source`](std::error::Error::source) to say it again.
        error: io::Error,
    },
    /// There is no place for a cache.
    #[error("there is no home folder for the cache of models: set HF_HOME")]
    NoHome,
}

impl Error {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}
