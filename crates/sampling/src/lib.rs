//! What turns a seed and a number of steps into a run: noise ([`noise`]), and samplers as data.
//!
//! A run is chosen along three axes: what the model was trained with ([`Trained`]), which noise levels are visited
//! ([`Schedule`]), and how it goes from one to the next ([`Sampler`]). For a fixed choice every sampler here is, between
//! two evaluations of the model, a *linear map* on a few latent-sized registers, the model's output and fresh noise, with
//! at most one clamp. So a sampler is a pure function that returns a [`Program`]: the loop, the CPU and the GPU run it
//! without knowing which paper it came from, with one kernel.
//!
//! The crate knows no model and no graph. [`diffusers`] reads a `scheduler_config.json` and puts the classes' roundings
//! on the three axes (diffusers 0.42.1, which each file cites next to its paper).

mod adaptive;
mod choice;
mod dialect;
pub mod diffusers;
mod error;
mod keep;
mod levels;
mod lin;
pub mod noise;
mod program;
mod run;
mod samplers;
mod schedule;
mod scheduler;
mod trained;

pub use adaptive::{Adaptive, Attempt};
pub use choice::{Chosen, SamplerChoice, Stretch};
pub use dialect::Dialect;
pub use diffusers::{Algorithm, Class, FinalSigma, SchedulerConfig, SolverType, Spacing};
pub use error::{Error, Result};
pub use keep::{KeepRule, Keeps};
pub use lin::{BASIS, CLAMPED, Coefs, Lin, MODEL, NOISE, REGISTERS, UNCONDITIONAL};
pub use program::{Clamp, Clip, Draft, Draw, Drawn, Program, Sheet, Step};
pub use run::{Knobs, Method, Run};
pub use samplers::{Descriptor, Sampler};
pub use schedule::Schedule;
pub use scheduler::{Scheduler, SchedulerFile};
pub use trained::{BetaSchedule, Edm, Prediction, Trained};
