//! Calotype: Stable Diffusion on WebGPU, in Rust.
//!
//! ```no_run
//! use calotype::{Pipeline, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut pipeline = Pipeline::from_pretrained("path/to/stable-diffusion-v1-5")?;
//! let output = pipeline.text_to_image(&Request::new("a photo of an astronaut riding a horse"))?;
//! std::fs::write("astronaut.png", output.pictures[0].png(None)?)?;
//! # Ok(()) }
//! ```
//!
//! The model is a file of weights, a folder in the diffusers layout, or `owner/name` on the Hugging Face hub. Without a GPU
//! everything still works, slowly, on the CPU.
//! Features, all of them on if nothing is said: `gpu` (wgpu), `cpu`, `hub` (models fetched by name), `builtin` (the model
//! that comes with the program, 33 MB).
//! `calotype_pipeline` holds the asynchronous pipeline that this one blocks on, and that a browser awaits.

pub mod builtin;
pub mod compat;
mod device;
mod pipeline;
mod place;
mod seed;

#[cfg(feature = "gpu")]
pub use calotype_gpu::{
    AdapterReport, Backend, Choice, Tier, TierReport, Tuning, adapters, cache_folder, preferred,
};
pub use calotype_graph::{Caps, Clock, Executor, MemoryUse, Precision, Quant, Room, Span};
#[cfg(feature = "hub")]
pub use calotype_hub as hub;
#[cfg(not(feature = "hub"))]
pub mod hub {
    //! Models of the hub: not in this build (feature `hub`).

    /// How far a download is: there is none.
    #[derive(Debug)]
    pub enum DownloadProgress {}
}
pub use calotype_models::Role;
pub use calotype_models::config::ModelConfig;
pub use calotype_models::detect::{Predicts, Said};
pub use calotype_pipeline::image::open_embedding;
pub use calotype_pipeline::noise::{BatchSeeds, Rng};
pub use calotype_pipeline::samplers::{Dialect, Sampler, Schedule};
pub use calotype_pipeline::words::{Emphasis, PromptStyle};
pub use calotype_pipeline::{
    Area, Budget, Cache, Component, Components, Condition, Contents, Control, ControlMode, ControlNet, Cure,
    DRAWN, Defaults, Denoising, Error, FewSteps, Field, FileReport, Framed, FreeU, FreeURule, GivenNoise,
    Guidance, Hashes, Hint, Hints, InitPicture, Inpaint, InpaintArea, InpaintFill, Kind, Leaving, Lora, Mask,
    MemoryPlan, Model, ModelFiles, NamedLora, Order, Output, Picture, Progress, Recalled, Recipe, Refining,
    Remedy, Request, Resize, Shortage, Stage, StagePlan, StageStream, StepRule, Strategy, Tiles, Timings,
    Turn, UNetReport, VaeTiling, bytes, convert, fits, image, lora_name, measure, noise, plan, plan_within,
    samplers, tokenizer, words,
};
pub use calotype_tensor::{DType, Encoding, HostTensor, Shape};
pub use calotype_weights::schemes::FileKind;
pub use calotype_weights::{BLOCKS, TextualInversion};
#[cfg(feature = "cpu")]
pub use device::host_room;
pub use device::{Device, OpenDevice};
pub use pipeline::{Options, Pipeline, Running};
pub use place::{Assembly, ModelPlace, Search};
pub use seed::random_seed;
