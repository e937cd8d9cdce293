//! Checkpoints by tensor path: where a model's numbers come from.
//!
//! [`WeightSource`] is the one face that everything above sees. Natively it is [`Safetensors`], files mapped into
//! memory, so that opening a checkpoint costs its header and nothing else; [`Memory`] is a file that is in memory
//! already; [`Synthetic`] makes seeded random
//! weights of declared shapes, for plans, tests and benchmarks without a download. [`Aliased`] lets one name find
//! a tensor that older or newer exporters wrote under another, and [`Merged`] adds a [`Lora`] to the tensors it names.

mod alias;
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod header;
mod lora;
#[cfg(not(target_arch = "wasm32"))]
mod mapped;
mod memory;
mod merged;
mod source;
mod stored;
mod synthetic;
mod unused;

pub use alias::{Aliased, LEGACY_ATTENTION};
pub use error::Error;
#[cfg(not(target_arch = "wasm32"))]
pub use folder::{Checkpoint, choose_checkpoint, find_checkpoint};
pub use header::{Entry, Header, mishap};
pub use lora::Lora;
#[cfg(not(target_arch = "wasm32"))]
pub use mapped::Safetensors;
pub use memory::Memory;
pub use merged::Merged;
pub use source::{Read, TensorInfo, WeightSource};
pub use stored::Stored;
pub use synthetic::{Declared, Init, Synthetic};
pub use unused::warn_unused;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
