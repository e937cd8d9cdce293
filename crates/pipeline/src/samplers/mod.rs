//! Samplers as data.
//!
//! For a fixed configuration, number of steps and eta, every sampler here is, between two evaluations of the
//! model, a *linear map* on a few latent-sized registers, the model's output and fresh noise, with at most one
//! clamp. So a sampler is a pure function that returns a [`Program`]: the loop, the CPU and the GPU run it
//! without knowing which paper it came from, with one kernel.
//!
//! The semantics, rounding of the timesteps included, are those of the diffusers class of the same name
//! (diffusers 0.42.1), which each file cites next to its paper.

mod config;
mod ddim;
mod dpm_solver;
mod euler;
mod fields;
mod file;
mod heun;
mod lcm;
mod linear;
mod lms;
mod names;
mod pndm;
mod program;
mod schedule;
mod sigmas;
mod unipc;

pub use config::{
    Algorithm, BetaSchedule, FinalSigma, Prediction, Schedule, SchedulerConfig, SolverType, Spacing,
};
pub use file::SchedulerFile;
pub use linear::{Coefs, Lin};
pub use names::Sampler;
pub use schedule::alphas_cumprod;

use crate::error::Result;

/// The registers of a program, and what a new one may be made of: the old registers, then [`MODEL`], [`CLAMPED`] and
/// [`NOISE`].
pub use calotype_graph::ops::{BASIS, REGISTERS};

/// Basis index of the guided model output.
pub const MODEL: usize = REGISTERS;

/// Basis index of the clamped vector, zero where a step has no [`Clamp`].
pub const CLAMPED: usize = REGISTERS + 1;

/// Basis index of the fresh noise, zero where a step draws none.
pub const NOISE: usize = REGISTERS + 2;

/// `c = clamp(row · basis, -range, range)`, elementwise: the prediction of the clean sample of a configuration
/// with `clip_sample`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    /// Coefficients over the old registers and the model output; zero at [`CLAMPED`] and [`NOISE`].
    pub row: [f32; BASIS],
    /// Half the width of the interval.
    pub range: f32,
}

/// One evaluation of the model and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The timestep that the model is told, `0.0..=num_train_timesteps - 1`; fractional for some schedules.
    pub timestep: f32,
    /// The model sees `register 0 * input_scale`.
    pub input_scale: f32,
    /// The step's clamp, for configurations with `clip_sample`.
    pub clamp: Option<Clamp>,
    /// New registers as rows over the basis, all computed from the old ones at once.
    pub rows: [[f32; BASIS]; REGISTERS],
    /// Which fresh noise (counted in the order of use) [`NOISE`] stands for.
    pub noise: Option<usize>,
    /// Whether one of the user's steps ends here: Heun and PNDM's Runge-Kutta start evaluate the model more
    /// than once a step.
    pub ends_step: bool,
}

/// A sampler for one configuration, number of steps and eta.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The starting sample is unit noise times this.
    pub init_noise_sigma: f32,
    /// Evaluations of the model, in order.
    pub steps: Vec<Step>,
    /// Fresh noise tensors the program draws, beyond the starting one.
    pub noises: usize,
}

impl SchedulerConfig {
    /// The program for `steps` steps. `eta` scales DDIM's noise (0 is deterministic); other samplers ignore it.
    ///
    /// Errors where the sampler cannot take this many steps, or where the configuration makes it divide by zero.
    pub fn program(&self, steps: usize, eta: f64) -> Result<Program> {
        match self.sampler {
            Sampler::Ddim => ddim::program(self, steps, eta),
            Sampler::Pndm => pndm::program(self, steps),
            Sampler::DpmSolver => dpm_solver::program(self, steps),
            Sampler::Euler => euler::program(self, steps),
            Sampler::EulerAncestral => euler::ancestral(self, steps),
            Sampler::Heun => heun::program(self, steps),
            Sampler::Lms => lms::program(self, steps),
            Sampler::UniPc => unipc::program(self, steps),
            Sampler::Lcm => lcm::program(self, steps),
        }
    }
}
