//! Runs recordings with wgpu: the only crate that knows it. Vulkan, Metal and DX12 natively, WebGPU in a browser.
//!
//! ```no_run
//! use calotype_gpu::{Choice, GpuExecutor};
//! # async fn run() -> Result<(), calotype_gpu::Error> {
//! let gpu = GpuExecutor::new(&Choice::default()).await?;
//! # Ok(()) }
//! ```

mod adapter;
mod arenas;
mod cache;
mod device;
mod error;
mod executor;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod offer;
mod packed;
mod pipelines;
mod profile;
mod program;
mod proof;
mod runner;
mod signal;
mod store;
mod stream;
mod tiers;
#[cfg(not(target_arch = "wasm32"))]
mod tuning;
#[cfg(not(target_arch = "wasm32"))]
mod vulkan;
mod watch;
mod weights;

pub use adapter::{AdapterReport, Backend, Choice, TierReport, Tuning, adapters, preferred};
pub use calotype_graph::lower::Tier;
pub use device::prospects;
pub use error::Error;
pub use executor::GpuExecutor;
pub use store::cache_folder;
