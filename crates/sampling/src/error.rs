//! The crate's one error type.

/// What keeps a sampler from running. Each message is one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheduler configuration has a class, a field or a value that no sampler here implements.
    #[error("{file}: {field} = {value} is not supported: {hint}")]
    Scheduler {
        /// The file.
        file: String,
        /// The field of the configuration.
        field: String,
        /// Its value, as JSON.
        value: String,
        /// What would work.
        hint: String,
    },
    /// A scheduler configuration is no JSON.
    #[error("{file}: not a configuration: {error}")]
    NotJson {
        /// The file.
        file: String,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// A model that was not trained on betas: every sampler here would make noise of it.
    #[error("{0}")]
    Untrained(String),
    /// A request that a sampler cannot honour (zero steps, a noise schedule it does not have).
    #[error("{0}")]
    Sampler(String),
}

impl Error {
    /// A field of a scheduler configuration; [`of_scheduler`](Self::of_scheduler) says in which file.
    pub(crate) fn scheduler(field: &str, value: impl Into<String>, hint: impl Into<String>) -> Self {
        let file = "scheduler_config.json".into();
        Self::Scheduler { file, field: field.into(), value: value.into(), hint: hint.into() }
    }

    /// The error with the scheduler's file as the caller names it, if it is about that.
    pub(crate) fn of_scheduler(mut self, place: &str) -> Self {
        if let Self::Scheduler { file, .. } = &mut self {
            *file = place.into();
        }
        self
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
