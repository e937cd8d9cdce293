//! The samplers by name.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A sampler: one per implemented diffusers scheduler class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sampler {
    /// Song et al. 2021, arXiv 2010.02502.
    Ddim,
    /// Liu et al. 2022, arXiv 2202.09778.
    Pndm,
    /// DPM-Solver and DPM-Solver++, multistep: Lu et al. 2022, arXiv 2211.01095.
    DpmSolver,
    /// Karras et al. 2022, arXiv 2206.00364, algorithm 2 without its correction.
    Euler,
    /// Euler with part of the noise drawn anew each step (k-diffusion's `euler_ancestral`).
    EulerAncestral,
    /// Karras et al. 2022, arXiv 2206.00364, algorithm 2.
    Heun,
    /// Linear multistep over sigma (k-diffusion's `lms`).
    Lms,
    /// Zhao et al. 2023, arXiv 2302.04867.
    UniPc,
    /// Latent consistency models: Luo et al. 2023, arXiv 2310.04378.
    Lcm,
}

impl Sampler {
    /// Every sampler.
    pub const ALL: [Sampler; 9] = [
        Sampler::Ddim,
        Sampler::Pndm,
        Sampler::DpmSolver,
        Sampler::Euler,
        Sampler::EulerAncestral,
        Sampler::Heun,
        Sampler::Lms,
        Sampler::UniPc,
        Sampler::Lcm,
    ];

    /// The diffusers class, as `_class_name` in a `scheduler_config.json`.
    pub fn class_name(self) -> &'static str {
        match self {
            Sampler::Ddim => "DDIMScheduler",
            Sampler::Pndm => "PNDMScheduler",
            Sampler::DpmSolver => "DPMSolverMultistepScheduler",
            Sampler::Euler => "EulerDiscreteScheduler",
            Sampler::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Sampler::Heun => "HeunDiscreteScheduler",
            Sampler::Lms => "LMSDiscreteScheduler",
            Sampler::UniPc => "UniPCMultistepScheduler",
            Sampler::Lcm => "LCMScheduler",
        }
    }

    /// Whether it runs over sigmas that a noise schedule may choose.
    pub fn has_schedules(self) -> bool {
        matches!(self, Sampler::DpmSolver | Sampler::Euler | Sampler::Heun | Sampler::Lms | Sampler::UniPc)
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sampler::Ddim => "ddim",
            Sampler::Pndm => "pndm",
            Sampler::DpmSolver => "dpm++2m",
            Sampler::Euler => "euler",
            Sampler::EulerAncestral => "euler_a",
            Sampler::Heun => "heun",
            Sampler::Lms => "lms",
            Sampler::UniPc => "unipc",
            Sampler::Lcm => "lcm",
        })
    }
}

impl FromStr for Sampler {
    type Err = Error;
    fn from_str(name: &str) -> Result<Sampler> {
        match name.to_ascii_lowercase().as_str() {
            "plms" => return Ok(Sampler::Pndm),
            "dpmpp_2m" | "dpmpp2m" | "dpm++_2m" => return Ok(Sampler::DpmSolver),
            "euler_ancestral" => return Ok(Sampler::EulerAncestral),
            given => Sampler::ALL.into_iter().find(|s| s.to_string() == given),
        }
        .ok_or_else(|| {
            let names = Sampler::ALL.map(|s| s.to_string()).join(", ");
            Error::Sampler(format!("no sampler is called \"{name}\": choose one of {names}"))
        })
    }
}

impl TryFrom<String> for Sampler {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Sampler> for String {
    fn from(sampler: Sampler) -> Self {
        sampler.to_string()
    }
}
