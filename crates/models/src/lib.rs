//! Stable Diffusion's models: their configurations, as diffusers and transformers write them.

pub mod config;
mod error;
mod source;

pub use error::Error;
pub use source::Source;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
