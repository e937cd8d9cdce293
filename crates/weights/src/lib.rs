//! Checkpoints by tensor path: where a model's numbers come from.
//!
//! [`Tensors`] is the one face that everything above sees. [`Checkpoint`] has the tensors of files: a format
//! ([`files`]) says where each is and how it is stored, [`Bytes`] lends the file, mapped into memory, in memory already or
//! fetched piece by piece; a [`Folder`] has files by path. [`Synthetic`] makes seeded random weights of declared
//! shapes, for plans, tests and benchmarks without a download. [`Aliased`] lets one name find a tensor that older or newer
//! exporters wrote under another, [`schemes`] sorts a file of several components, and [`Merged`] adds a [`Lora`] to the tensors it names.

mod alias;
mod bytes;
mod checkpoint;
mod decode;
mod embedding;
mod error;
pub mod files;
mod folder;
mod format;
#[cfg(not(target_arch = "wasm32"))]
mod mapped;
mod merged;
pub mod names;
mod patches;
pub mod schemes;
mod synthetic;
mod unused;

pub use alias::{Aliased, LEGACY_ATTENTION};
pub use bytes::Bytes;
pub use calotype_tensor::blocks::MADE as BLOCKS;
pub use calotype_tensor::{Encoding, TensorInfo, Tensors};
pub use checkpoint::Checkpoint;
pub use embedding::{TextualInversion, Tower, Vectors};
pub use error::Error;
pub use files::mishap;
#[cfg(not(target_arch = "wasm32"))]
pub use folder::DiskFolder;
pub use folder::{Folder, MemoryFolder, within};
#[cfg(not(target_arch = "wasm32"))]
pub use mapped::Mapped;
pub use merged::Merged;
pub use patches::{Lora, LoraFacts};
pub use synthetic::{Declared, Init, Synthetic};
pub use unused::warn_unused;

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
