use crate::Proxy;
use calotype_field::Field;
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
    /// What names a model, but not as names are written.
    #[error(
        "{text}: no such folder; for the model of the hub write {name}{}",
        revision.as_ref().map(|revision| format!(" with {} {revision}", Field::Revision)).unwrap_or_default()
    )]
    Misspelt {
        /// What was written.
        text: String,
        /// `owner/name`.
        name: String,
        /// Its branch, tag or commit, where the text has one.
        revision: Option<String>,
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
        "{name}: no {file}: only Stable Diffusion repositories in the diffusers layout are read ({} beside \
         scheduler, tokenizer, text_encoder, unet and vae)",
        calotype_models::layout::INDEX
    )]
    NotDiffusers {
        /// `owner/name`.
        name: String,
        /// What is missing.
        file: String,
    },
    /// The repository has no such file.
    #[error("{name} has no file {file}; files of weights there: {}", if found.is_empty() { "none" } else { found })]
    NoFile {
        /// `owner/name`.
        name: String,
        /// The file that was asked for.
        file: String,
        /// Those that are there.
        found: String,
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
        /// Whether it would answer the same again.
        lasting: bool,
    },
    /// A name that would lead out of the cache, or that some system cannot have.
    #[error(
        "{url}: the server gives the {kind} {name:?}, and {why}: nothing was fetched; is this the hub that you meant?"
    )]
    UnsafeName {
        /// What was asked for.
        url: String,
        /// `file` or `commit`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A revision that can be none.
    #[error("{} {revision:?}: {why}: give a branch, a tag, refs/pr/N or a commit", Field::Revision)]
    BadRevision {
        /// What was asked for.
        revision: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The hub's address is none.
    #[error(
        "HF_ENDPOINT={endpoint:?} is no address of a server: give it as https://host or https://host/path"
    )]
    Endpoint {
        /// What the variable says.
        endpoint: String,
    },
    /// A variable that must be a number is none.
    #[error("{name}={value:?} is no whole number of seconds: set it to one, or unset it")]
    Seconds {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// A token that cannot be sent.
    #[error("the token of {place} has characters that no token has: copy it again, or unset it")]
    NoToken {
        /// The variable or file.
        place: String,
    },
    /// A token's file that cannot be read.
    #[error("{}: {error}: the token for the hub is looked for there; make the file readable, set HF_TOKEN or \
        HF_TOKEN_PATH, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to go without", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No answer at all.
    #[error(
        "cannot reach {endpoint}{} ({why}): try again, what came is kept{}; or fetch the files of {name} on another \
         machine ({}, scheduler, tokenizer, text_encoder, unet, vae) and give their folder with {} FOLDER",
        proxy.as_ref().map(|p| format!(" through the proxy {} of {}", p.address, p.variable)).unwrap_or_default(),
        proxy.as_ref().map(|p| format!(
            "; set {} to a proxy that answers, unset it, or set NO_PROXY to the hub's host", p.variable
        )).unwrap_or_default(),
        calotype_models::layout::INDEX,
        Field::Place
    )]
    Network {
        /// `owner/name`.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// The proxy on the way there.
        proxy: Option<Proxy>,
        /// What happened.
        why: String,
    },
    /// The network is not to be asked.
    #[error(
        "{name} is not to be had from the cache {}: {why}; {}, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids to fetch \
         it: run once without, or set HF_HUB_CACHE or HF_HOME to where it is",
        cache.display(), Field::Offline
    )]
    Offline {
        /// `owner/name`.
        name: String,
        /// The cache's folder.
        cache: PathBuf,
        /// What is not there.
        why: String,
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
    /// A server that says one length of a file when it is asked about it, and another when it sends it.
    #[error(
        "{url}: the server's sizes disagree: the file has {described} bytes when it is asked about, and {sent} when it is \
         fetched; try again later, or set HF_ENDPOINT to another; what came is kept"
    )]
    Sizes {
        /// The file.
        url: String,
        /// Bytes that were announced.
        described: u64,
        /// Bytes that there are to fetch.
        sent: u64,
    },
    /// The disk is full.
    #[error(
        "{}: the disk is full{}: make room, or set HF_HUB_CACHE to a folder elsewhere; what came is kept",
        path.display(),
        needs.map(|bytes| format!(", and {bytes} bytes are still to come")).unwrap_or_default()
    )]
    DiskFull {
        /// The file that was written.
        path: PathBuf,
        /// Bytes still to come, where the server said how many there are.
        needs: Option<u64>,
    },
    /// The operating system refused a file or folder of the hub's.
    #[error(
        "{}: {error}: what comes from the hub is kept there{}: set {} to a folder that can be written to",
        path.display(),
        variable.map(|name| format!(", as {name} says")).unwrap_or_default(),
        variable.unwrap_or("HF_HOME")
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The variable that says where it is, where one does.
        variable: Option<&'static str>,
        /// What it said. In the message already, so no [`source`](std::error::Error::source) to say it again.
        error: io::Error,
    },
    /// There is no place for a cache.
    #[error("{}: there is no such home folder for the cache of models: set HF_HOME or HF_HUB_CACHE", path.display())]
    NoHome {
        /// The cache, its `~` left over.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), variable: None, error }
    }

    /// The same, of files that are where `variable` says.
    pub(crate) fn placed(self, place: Option<&'static str>) -> Self {
        match self {
            Self::Io { path, variable, error } => Self::Io { path, variable: variable.or(place), error },
            other => other,
        }
    }
}
