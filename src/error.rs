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
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
