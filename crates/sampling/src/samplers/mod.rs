//! The samplers: a file each, with a descriptor that says all there is to say of it by name.

mod ddim;
mod ddpm;
mod deis;
mod dpm2;
pub(crate) mod dpm_adaptive;
mod dpm_fast;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod er_sde;
mod euler;
mod euler_ancestral;
mod euler_cfg_pp;
mod gradient_estimation;
mod heun;
mod heunpp2;
mod ipndm;
mod lcm;
mod lms;
mod pndm;
mod res_multistep;
mod restart;
mod sa_solver;
mod seeds;
mod tcd;
mod unipc;

use crate::dialect::Dialect;
use crate::diffusers::Class;
use crate::error::{Error, Result};
use crate::run::Method;
use calotype_field::Field;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is known of a sampler by name.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// What it is called, as A1111 does, in lower case; and what else it answers to.
    pub names: &'static [&'static str],
    /// A1111's name (modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py and sd_samplers_lcm.py), or what it would
    /// be.
    pub label: &'static str,
    /// The noise schedule that A1111 draws with if nothing is said.
    pub schedule: Option<&'static str>,
    /// How much of the noise is drawn anew if nothing is said, over sigmas.
    pub eta: f64,
    /// The same in ComfyUI's dialect.
    pub comfy_eta: f64,
    /// Where the last noise level but one is left out.
    pub discards_penultimate: &'static [Dialect],
    /// Where it chooses its noise levels itself.
    pub own_sigmas: &'static [Dialect],
    /// Whether it takes the unconditional output apart, whatever the guidance.
    pub needs_unconditional: bool,
    /// The class of diffusers.
    pub class: Option<Class>,
    /// The same for models that were trained on sigmas of a range.
    pub edm: Option<Class>,
    /// Its program by A1111's, k-diffusion's and ComfyUI's rules.
    pub k: Option<Method>,
    /// Its program by CompVis' rules.
    pub compvis: Option<Method>,
    /// Its program by KerasCV's rules, old and new.
    pub keras: Option<Method>,
}

impl Descriptor {
    const NONE: Descriptor = Descriptor {
        names: &[],
        label: "",
        schedule: None,
        eta: 1.0,
        comfy_eta: 1.0,
        discards_penultimate: &[],
        own_sigmas: &[],
        needs_unconditional: false,
        class: None,
        edm: None,
        k: None,
        compvis: None,
        keras: None,
    };

    /// Its program by a dialect's rules; diffusers' are the class's.
    pub fn method(&self, dialect: Dialect) -> Option<Method> {
        match dialect {
            Dialect::Diffusers => None,
            Dialect::K | Dialect::Comfy => self.k,
            Dialect::CompVis => self.compvis,
            Dialect::Keras | Dialect::Keras03 => self.keras,
        }
    }

    /// Whether it chooses its noise levels itself there.
    pub fn chooses_levels(&self, dialect: Dialect) -> bool {
        dialect.is_fixed() || self.own_sigmas.contains(&dialect)
    }
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
    ddim::DDIM_CFG_PP,
    pndm::PNDM,
    unipc::UNIPC,
    unipc::UNIPC_BH2,
    euler::EULER,
    euler_ancestral::EULER_ANCESTRAL,
    euler_cfg_pp::EULER_CFG_PP,
    euler_cfg_pp::EULER_ANCESTRAL_CFG_PP,
    heun::HEUN,
    heunpp2::HEUNPP2,
    lms::LMS,
    dpm2::DPM2,
    dpm2::DPM2_ANCESTRAL,
    dpm_fast::DPM_FAST,
    dpm_adaptive::DPM_ADAPTIVE,
    dpmpp_2s_ancestral::DPMPP_2S_ANCESTRAL,
    dpmpp_2s_ancestral::DPMPP_2S_ANCESTRAL_CFG_PP,
    dpm_solver::DPM_SOLVER,
    dpmpp_2m::DPMPP_2M_CFG_PP,
    dpmpp_sde::DPMPP_SDE,
    dpmpp_2m_sde::DPMPP_2M_SDE,
    dpmpp_2m_sde::DPMPP_2M_SDE_HEUN,
    dpmpp_3m_sde::DPMPP_3M_SDE,
    restart::RESTART,
    ipndm::IPNDM,
    ipndm::IPNDM_V,
    deis::DEIS,
    res_multistep::RES_MULTISTEP,
    res_multistep::RES_MULTISTEP_ANCESTRAL,
    res_multistep::RES_MULTISTEP_CFG_PP,
    res_multistep::RES_MULTISTEP_ANCESTRAL_CFG_PP,
    gradient_estimation::GRADIENT_ESTIMATION,
    gradient_estimation::GRADIENT_ESTIMATION_CFG_PP,
    er_sde::ER_SDE,
    seeds::SEEDS_2,
    seeds::SEEDS_3,
    sa_solver::SA_SOLVER,
    sa_solver::SA_SOLVER_PECE,
    ddpm::DDPM,
    lcm::LCM,
    tcd::TCD,
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
        let is = |class: &Option<Class>| class.is_some_and(|class| class.name == name);
        Self::ALL.iter().copied().find(|sampler| is(&sampler.0.class) || is(&sampler.0.edm))
    }

    pub(crate) fn classes() -> impl Iterator<Item = &'static Class> {
        Self::ALL.iter().flat_map(|sampler| sampler.0.class.iter().chain(&sampler.0.edm))
    }

    /// Whether a class of that name is for models that were trained on sigmas of a range.
    pub(crate) fn is_edm(class: &str) -> bool {
        Self::ALL.iter().any(|sampler| sampler.0.edm.is_some_and(|own| own.name == class))
    }

    /// The diffusers class for models that were trained on sigmas of a range.
    ///
    /// Errors where there is none.
    pub(crate) fn edm_class(self) -> Result<&'static Class> {
        self.0.edm.as_ref().ok_or_else(|| {
            Error::Sampler(format!(
                "sampler {self} is none for this model, which was trained on sigmas of a range (EDM): give one of {}",
                Self::listed(|sampler| sampler.0.edm.is_some())
            ))
        })
    }

    /// All that is known of it.
    pub fn descriptor(self) -> &'static Descriptor {
        self.0
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
    ///
    /// Errors where there is none here.
    pub fn class(self) -> Result<&'static Class> {
        self.0.class.as_ref().ok_or_else(|| {
            Error::Sampler(format!(
                "sampler {self} is none of diffusers': give {} k, or one of {}",
                Field::Dialect,
                Self::listed(|sampler| sampler.0.class.is_some())
            ))
        })
    }

    /// Whether its class runs over sigmas that a noise schedule may choose.
    pub fn has_schedules(self) -> bool {
        self.0.class.is_some_and(|class| class.defaults().contains_key("use_karras_sigmas"))
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
        let given = name.to_ascii_lowercase().replace(' ', "_");
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
