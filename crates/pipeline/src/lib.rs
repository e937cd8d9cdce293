//! What stands between a model and a picture: words to ids ([`tokenizer`]), pixels to a file that knows its settings
//! ([`image`]). How a seed becomes noise, and a number of steps a denoising program, is [`calotype_sampling`]'s.
//!
//! Those are pure. [`Pipeline`] puts them around the models' graphs and runs the loop on any
//! [`calotype_graph::Executor`]: the same loop on a GPU, on the CPU and in a browser tab.

mod adapt;
mod bands;
mod budget;
mod cache;
mod check;
mod chunks;
mod components;
mod condition;
mod contents;
mod control;
#[cfg(not(target_arch = "wasm32"))]
pub mod convert;
mod decode;
mod defaults;
mod denoise;
mod embeddings;
mod encode;
pub mod error;
mod files;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod from_picture;
mod guidance;
pub mod image;
mod init;
mod inpaint;
mod inversion;
mod kept;
mod layered;
mod loras;
mod masked;
pub mod measure;
mod model;
mod order;
pub mod parts;
mod pipeline;
pub mod preview;
mod recall;
mod recipe;
mod report;
mod request;
mod room;
mod session;
mod settings;
mod settle;
mod single;
mod steered;
mod steering;
mod table;
mod tiles;
mod tiny;
pub mod tokenizer;
pub mod words;

pub use budget::Budget;
pub use cache::Cache;
pub use calotype_field::Field;
pub use calotype_models::Role;
pub use calotype_models::changes::{FreeU, FreeURule};
pub use calotype_models::detect::{Predicts, Said};
pub use calotype_sampling::{self as samplers, noise};
pub use calotype_weights::Lora;
pub use chunks::Framed;
pub use components::{Component, Components};
pub use condition::{Condition, Turn};
pub use contents::Contents;
pub use control::{Control, ControlMode, ControlNet};
pub use defaults::{Defaults, FewSteps, lora_name};
pub use denoise::{Denoising, Progress};
pub use error::{Cure, Error, Kind, Remedy, Result, Shortage, bytes};
pub use files::ModelFiles;
pub use guidance::Guidance;
pub use image::{Area, Hint, Mask, Picture, Resize};
pub use init::{InitPicture, StepRule};
pub use inpaint::{Inpaint, InpaintArea, InpaintFill};
pub use loras::NamedLora;
pub use model::{Model, Tokenizers};
pub use order::{Hashes, Order, Refining};
pub use parts::{Leaving, MemoryPlan, Stage, StagePlan, StageStream, Strategy, plan, plan_within};
pub use pipeline::{Output, Pipeline, Timings};
pub use recall::Recalled;
pub use recipe::Recipe;
pub use report::{FileReport, UNetReport};
pub use request::{GivenNoise, Request};
pub use room::fits;
pub use single::{DRAWN, Hints, component_field};
pub use tiles::{Tiles, VaeTiling};
