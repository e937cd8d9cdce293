//! Shapes, element types and host tensors: the vocabulary every other crate shares.
//!
//! Layout is row-major with the last axis fastest. Pictures and feature maps are NHWC, so that
//! `[batch · height · width, channels]` feeds convolutions, linear layers and attention alike.

mod dtype;
mod host;
mod shape;

pub use dtype::DType;
pub use host::HostTensor;
pub use shape::Shape;
