//! Stable Diffusion's models: their configurations, as diffusers and transformers write them, and the graphs that
//! the configurations describe.
//!
//! [`clip`], [`unet`] and [`vae`] read top down like the architectures. They name weights by the paths that
//! checkpoints have, and emit simple ops; [`calotype_graph::passes`] makes them fewer. [`in_graphs`] lets graphs find theirs.

mod attention;
mod blocks;
pub mod changes;
pub mod clip;
pub mod config;
pub mod control;
pub mod detect;
mod error;
pub mod layout;
mod params;
mod resnet;
mod role;
mod source;
pub mod taesd;
pub mod unet;
pub mod vae;
pub mod vae_layers;

pub use error::Error;
pub use params::{declare, params, unused};
pub use role::Role;
pub use source::in_graphs;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
