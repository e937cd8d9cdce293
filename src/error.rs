/// Anything that can keep a picture from being made. Each message is one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model, a request or a run.
    #[error(transparent)]
    Pipeline(#[from] calotype_pipeline::Error),
    /// There is no such GPU.
    #[error(transparent)]
    Gpu(#[from] calotype_gpu::Error),
    /// A model of the hub.
    #[error(transparent)]
    Hub(#[from] calotype_hub::Error),
    /// A checkpoint or a LoRA.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether what was asked for is at fault, not the model, the device or the run.
    pub fn is_usage(&self) -> bool {
        use calotype_pipeline::Error::{Request, Sampler};
        matches!(
            self,
            Self::Pipeline(Request(_) | Sampler(_))
                | Self::Gpu(
                    calotype_gpu::Error::NoSuchAdapter { .. } | calotype_gpu::Error::NoSuchTier { .. }
                )
        )
    }

    /// Whether the caller stopped the run.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Pipeline(calotype_pipeline::Error::Stopped { .. }))
    }
}
