//! Nets that steer a run by pictures (ControlNet: Zhang et al. 2023, arXiv:2302.05543).

use crate::image::{Hint, Picture};
use calotype_models::config::ControlConfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A net that was added to a model.
#[derive(Clone, Debug)]
pub struct ControlNet {
    /// What it is called in messages and in pictures' settings.
    pub name: String,
    /// What it is.
    pub config: ControlConfig,
}

/// By what, and how, the n-th of a model's nets steers.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// What the net is shown; in an order of its size, and made a hint.
    pub picture: Arc<Picture>,
    /// What is made of the picture first.
    pub hint: Hint,
    /// How much of what the net says counts.
    pub scale: f32,
    /// From which share of the steps on, 0 to 1.
    pub start: f64,
    /// Up to which share of them.
    pub end: f64,
    /// Where more of it counts, and where less.
    pub mode: ControlMode,
}

/// Where more counts of what a net says, and where less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlMode {
    /// The same everywhere.
    #[default]
    Balanced,
    /// Less of it the further out (A1111's extension, Mikubill/sd-webui-controlnet, scripts/hook.py: 0.825 to the 12 - i for the i-th
    /// of what it adds).
    Prompt,
    /// The same, and nothing where the prompt is not known.
    Control,
    /// From a tenth at the outermost to all, evenly by ratio, and nothing where the prompt is not known (diffusers: `guess_mode`).
    Guess,
}

impl ControlMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Balanced, Self::Prompt, Self::Control, Self::Guess];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Prompt => "prompt",
            Self::Control => "control",
            Self::Guess => "guess",
        }
    }

    /// What A1111's extension calls it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Balanced => "Balanced",
            Self::Prompt => "My prompt is more important",
            Self::Control => "ControlNet is more important",
            Self::Guess => "Guess",
        }
    }

    /// How much counts of the i-th of n things that a net adds, outermost first, where the prompt is known or is not.
    fn factor(self, i: usize, n: usize, knows: bool) -> f64 {
        match self {
            Self::Control | Self::Guess if !knows => 0.0,
            Self::Balanced => 1.0,
            Self::Prompt | Self::Control => 0.825f64.powi(12 - i as i32),
            Self::Guess => 10f64.powf(i as f64 / (n - 1).max(1) as f64 - 1.0),
        }
    }
}

impl FromStr for ControlMode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| format!("use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for ControlMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Control {
    /// A net that steers by a picture as it is, all the time and everywhere.
    pub fn by(picture: impl Into<Arc<Picture>>) -> Self {
        Self {
            picture: picture.into(),
            hint: Hint::default(),
            scale: 1.0,
            start: 0.0,
            end: 1.0,
            mode: ControlMode::default(),
        }
    }

    /// Whether it steers evaluation i of n (diffusers: `controlnet_keep`).
    pub(crate) fn steers(&self, i: usize, n: usize) -> bool {
        let share = |i: usize| i as f64 / n as f64;
        !(share(i) < self.start || share(i + 1) > self.end)
    }

    /// How much counts of each of n things that the net adds, where the prompt is known or is not.
    pub(crate) fn factors(&self, n: usize, knows: bool) -> impl Iterator<Item = f32> + '_ {
        (0..n).map(move |i| (self.mode.factor(i, n, knows) * f64::from(self.scale)) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_net_adds_counts_by_its_mode() {
        let of = |mode, knows| -> Vec<f32> {
            let control = Control { mode, scale: 2.0, ..Control::by(Picture::plain(1, 1, 0)) };
            control.factors(13, knows).collect()
        };
        assert_eq!(of(ControlMode::Balanced, false), [2.0; 13]);
        // The extension's own numbers, of which the last is whole.
        let soft = of(ControlMode::Prompt, true);
        assert!((soft[0] - 2.0 * 0.099_413_96).abs() < 1e-6 && soft[12] == 2.0, "{soft:?}");
        assert_eq!(of(ControlMode::Control, false), [0.0; 13]);
        let guess = of(ControlMode::Guess, true);
        assert!((guess[0] - 0.2).abs() < 1e-7 && guess[12] == 2.0, "{guess:?}");
        assert_eq!(of(ControlMode::Guess, false), [0.0; 13]);
    }

    #[test]
    fn a_net_steers_within_its_share_of_the_steps() {
        let control = Control { start: 0.2, end: 0.6, ..Control::by(Picture::plain(1, 1, 0)) };
        let steers: Vec<usize> = (0..10).filter(|i| control.steers(*i, 10)).collect();
        assert_eq!(steers, [2, 3, 4, 5]);
    }
}
