//! The crate's one error type.

use std::fmt;

/// What can go wrong between a request and its picture. Each message is one line that names the thing and the
/// way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheduler's configuration, or a request that its sampler cannot honour.
    #[error(transparent)]
    Sampling(#[from] calotype_sampling::Error),
    /// The tokenizer's files are missing or contradict each other.
    #[error("tokenizer: {file}: {reason}")]
    Tokenizer {
        /// The file, as the caller named it.
        file: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A picture could not be encoded, decoded or written.
    #[error("{file}: {reason}")]
    Image {
        /// The file, or "PNG" for bytes in memory.
        file: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The model folder cannot be used.
    #[error("{0}")]
    Model(String),
    /// The request asks for something that cannot be.
    #[error("{0}")]
    Request(String),
    /// A configuration.
    #[error(transparent)]
    Config(calotype_models::Error),
    /// A checkpoint.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// A graph, or the device it ran on.
    #[error(transparent)]
    Graph(#[from] calotype_graph::Error),
    /// The run takes more memory than there is.
    #[error("not enough memory: {0}")]
    NotEnoughMemory(Box<Shortage>),
    /// The numbers went bad: no picture is written.
    #[error("no picture: {stage} {what}; {hint}")]
    Broken {
        /// The first stage where it went wrong.
        stage: String,
        /// What was seen there.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The caller stopped the run.
    #[error("stopped after step {step} of {steps}")]
    Stopped {
        /// Steps that were done.
        step: usize,
        /// Steps that were asked for.
        steps: usize,
    },
}

/// What a run takes, and what there is.
#[derive(Debug)]
pub struct Shortage {
    /// What the run takes.
    pub needed: String,
    /// Of it, the model.
    pub weights: String,
    /// Whose memory it is.
    pub owner: String,
    /// What it has for the run.
    pub free: String,
    /// What to change.
    pub remedy: String,
    /// What `plan` must be told besides to plan for the same device.
    pub backend: &'static str,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, weights, owner, free, remedy, backend } = self;
        write!(
            f,
            "this run needs {needed} ({weights} of them weights), and {owner} is {free}: {remedy}; \
             `calotype plan{backend}` with the same flags says where it goes"
        )
    }
}

impl From<calotype_models::Error> for Error {
    fn from(error: calotype_models::Error) -> Self {
        match error {
            // What is wrong with a graph is so wherever it is found.
            calotype_models::Error::Graph(error) => Self::Graph(error),
            other => Self::Config(other),
        }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
