//! Shapes, element types and host tensors, and the one face of everything that has tensors by name: the vocabulary
//! every other crate shares.
//!
//! Layout is row-major with the last axis fastest. Pictures and feature maps are NHWC, so that
//! `[batch · height · width, channels]` feeds convolutions, linear layers and attention alike.

pub mod blocks;
mod dtype;
mod encoding;
mod error;
mod host;
mod made;
pub mod parallel;
mod shape;
mod tensors;

pub use dtype::DType;
pub use encoding::Encoding;
pub use error::Error;
pub use host::HostTensor;
pub use made::Made;
pub use shape::Shape;
pub use tensors::{LocalFuture, Read, TensorInfo, Tensors};

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
