//! What stands in a mask's place at the beginning, and which part of a picture is drawn.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What stands at the beginning in the place of what is drawn anew (A1111's masked content).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InpaintFill {
    /// What was there.
    Original,
    /// What is around it, blurred.
    Fill,
    /// Latents of noise alone.
    Noise,
    /// Latents of zeros.
    Nothing,
}

impl InpaintFill {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Original, Self::Fill, Self::Noise, Self::Nothing];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Fill => "fill",
            Self::Noise => "noise",
            Self::Nothing => "nothing",
        }
    }

    /// A1111's name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Fill => "fill",
            Self::Noise => "latent noise",
            Self::Nothing => "latent nothing",
        }
    }
}

impl FromStr for InpaintFill {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fill| [fill.name(), fill.label()].contains(&name));
        found.ok_or_else(|| "use original, fill, noise or nothing".into())
    }
}

impl fmt::Display for InpaintFill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which part of a picture is drawn (A1111's inpaint area).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InpaintArea {
    /// All of it.
    #[default]
    Whole,
    /// What the mask draws anew, with some pixels around it, at the size that is drawn.
    Masked,
}

impl InpaintArea {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Masked => "masked",
        }
    }

    /// A1111's name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Whole => "Whole picture",
            Self::Masked => "Only masked",
        }
    }
}

impl FromStr for InpaintArea {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = [Self::Whole, Self::Masked].into_iter();
        let found = found.into_iter().find(|area| [area.name(), area.label()].contains(&name));
        found.ok_or_else(|| "use whole or masked".into())
    }
}

impl fmt::Display for InpaintArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
