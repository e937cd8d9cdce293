//! Whose arithmetic is followed where implementations of one name differ.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// diffusers: the class of the sampler, with its roundings.
    Diffusers,
    /// A1111 over k-diffusion, and Forge.
    K,
    /// ComfyUI.
    Comfy,
    /// CompVis' scripts, over latent-diffusion's three samplers.
    #[serde(rename = "compvis")]
    CompVis,
    /// KerasCV from release 0.8.2 on.
    Keras,
    /// KerasCV's releases before, and the TensorFlow port that it came from.
    #[serde(rename = "keras-0.3")]
    Keras03,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 6] =
        [Dialect::Diffusers, Dialect::K, Dialect::Comfy, Dialect::CompVis, Dialect::Keras, Dialect::Keras03];

    /// Whether each sampler there has timesteps of its own, and users may set no more than their number and eta.
    pub fn is_fixed(self) -> bool {
        matches!(self, Dialect::CompVis | Dialect::Keras | Dialect::Keras03)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::Diffusers => "diffusers",
            Dialect::K => "k",
            Dialect::Comfy => "comfy",
            Dialect::CompVis => "compvis",
            Dialect::Keras => "keras",
            Dialect::Keras03 => "keras-0.3",
        })
    }
}

impl FromStr for Dialect {
    type Err = Error;
    fn from_str(name: &str) -> Result<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.to_string() == name.to_ascii_lowercase()).ok_or_else(
            || {
                let names = Dialect::ALL.map(|dialect| dialect.to_string()).join(", ");
                Error::Sampler(format!("no sampler dialect is called \"{name}\": choose one of {names}"))
            },
        )
    }
}
