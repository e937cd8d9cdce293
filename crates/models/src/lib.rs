//! Stable Diffusion's models: their configurations, as diffusers and transformers write them.

pub mod config;
mod error;

pub use error::Error;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
