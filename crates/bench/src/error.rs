/// Why nothing was measured. Each message is one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model, a request or a run.
    #[error(transparent)]
    Calotype(#[from] calotype::Error),
    /// The caller had it stop.
    #[error("stopped; what was under way is lost")]
    Stopped,
    /// The model's numbers went bad.
    #[error("the UNet produced {0} values that are not finite: a time for that would mean nothing")]
    NotFinite(usize),
    /// A record cannot be read.
    #[error("{file}: {why}")]
    Record {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
