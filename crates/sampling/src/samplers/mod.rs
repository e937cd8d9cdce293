//! The samplers: a file each, with a descriptor that says all there is to say of it by name.

mod ddim;
mod dpm_solver;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod pndm;
mod unipc;

use crate::diffusers::Class;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is known of a sampler by name.
#[derive(Debug)]
pub struct Descriptor {
    /// What it is called, and what else it answers to.
    pub names: &'static [&'static str],
    /// A1111's name (modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py and sd_samplers_lcm.py).
    pub label: &'static str,
    /// The class of diffusers.
    pub class: Class,
}

/// A sampler, by its descriptor.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sampler(&'static Descriptor);

/// Every descriptor, in the order in which samplers are shown.
macro_rules! samplers {
    ($($file:ident::$name:ident,)*) => {
        #[allow(missing_docs, reason = "each is described in its own file")]
        impl Sampler {
            /// Every sampler.
            pub const ALL: &[Sampler] = &[$(Sampler::$name),*];
            $(pub const $name: Sampler = Sampler(&$file::$name);)*
        }
    };
}

samplers! {
    ddim::DDIM,
    pndm::PNDM,
    dpm_solver::DPM_SOLVER,
    euler::EULER,
    euler_ancestral::EULER_ANCESTRAL,
    heun::HEUN,
    lms::LMS,
    unipc::UNIPC,
    lcm::LCM,
}

impl Sampler {
    /// The names of all, for people.
    pub fn names() -> String {
        Self::listed(|_| true)
    }

    /// The names of some.
    pub(crate) fn listed(which: impl Fn(Sampler) -> bool) -> String {
        let names: Vec<&str> = Self::ALL.iter().filter(|s| which(**s)).map(|s| s.name()).collect();
        names.join(", ")
    }

    /// The sampler of a class of diffusers.
    pub fn of_class(name: &str) -> Option<Sampler> {
        Self::ALL.iter().copied().find(|sampler| sampler.class().name == name)
    }

    pub(crate) fn classes() -> impl Iterator<Item = &'static Class> {
        Self::ALL.iter().map(|sampler| sampler.class())
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.0.names[0]
    }

    /// A1111's name.
    pub fn label(self) -> &'static str {
        self.0.label
    }

    /// The diffusers class.
    pub fn class(self) -> &'static Class {
        &self.0.class
    }

    /// Whether it runs over sigmas that a noise schedule may choose.
    pub fn has_schedules(self) -> bool {
        self.class().defaults().contains_key("use_karras_sigmas")
    }
}

impl PartialEq for Sampler {
    fn eq(&self, other: &Sampler) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Sampler {}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sampler {
    type Err = Error;
    fn from_str(name: &str) -> Result<Sampler> {
        let given = name.to_ascii_lowercase();
        let found = Sampler::ALL.iter().find(|sampler| sampler.0.names.contains(&given.as_str()));
        found.copied().ok_or_else(|| {
            let names = Sampler::names();
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
