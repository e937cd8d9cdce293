//! diffusers' scheduler classes on the three axes: what a `scheduler_config.json` means, and how its class rounds.

mod class;
mod config;
mod edm;
mod fields;
mod grid;
mod json;
mod read;

pub use class::{Asked, Class};
pub use config::{Algorithm, FinalSigma, SchedulerConfig, SolverType, Spacing};
pub use json::truthy;

pub(crate) use class::PREDICTIONS;
pub(crate) use config::SCHEDULE_FLAGS;
pub(crate) use edm::{edm_draft, edm_sigmas, edm_start};
pub(crate) use grid::{Grid, Span, over_sigmas, sigmas, timesteps};
pub(crate) use json::quote_infinities;
