/// Anything that can keep a picture from being made. Each message is one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model, a request or a run.
    #[error(transparent)]
    Pipeline(#[from] calotype_pipeline::Error),
    /// There is no such GPU.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] calotype_gpu::Error),
    /// A model of the hub.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] calotype_hub::Error),
    /// A revision of what has none.
    #[error("--revision {revision}: {what} has no revisions, only models of the hub do: leave it out")]
    NoRevisions {
        /// What was asked for.
        revision: String,
        /// What it was asked of.
        what: String,
    },
    /// A checkpoint or a LoRA.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// The library was built for other devices than the one that was asked for.
    #[error("this program was built without {0}: build it with the feature, or choose another device")]
    NoDevice(&'static str),
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether what was asked for is at fault, not the model, the device or the run.
    pub fn is_usage(&self) -> bool {
        use calotype_pipeline::Error::{Request, Sampling};
        use calotype_pipeline::samplers::Error::Sampler;
        match self {
            Self::Pipeline(error) => matches!(error, Request(_) | Sampling(Sampler(_))),
            #[cfg(feature = "gpu")]
            Self::Gpu(error) => {
                use calotype_gpu::Error::{NoSuchAdapter, NoSuchTier};
                matches!(error, NoSuchAdapter { .. } | NoSuchTier { .. })
            }
            Self::NoRevisions { .. } => true,
            _ => false,
        }
    }

    /// Whether the caller stopped the run.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Pipeline(calotype_pipeline::Error::Stopped { .. }))
    }
}
