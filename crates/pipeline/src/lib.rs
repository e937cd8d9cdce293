//! What stands between a model and a picture: words to ids ([`tokenizer`]), a seed to noise ([`noise`]), a number
//! of steps to a denoising program ([`samplers`]), pixels to a file that knows its settings ([`image`]).
//!
//! Nothing here touches a device: these modules are pure and compile to WebAssembly as they stand.

pub mod error;
pub mod image;
pub mod noise;
pub mod samplers;
pub mod tokenizer;

pub use error::Error;
