//! Kinds of guidance.

use calotype_graph::ops::Guide;
use calotype_models::changes::Weakening;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What guidance makes of the model's outputs. In words a kind is its name, and its numbers where they are not the usual ones:
/// `apg:eta=0:norm=10`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Guidance {
    /// Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): `u + scale (c - u)`.
    #[default]
    Cfg,
    /// Adaptive projected guidance (Sadat et al. 2024, arXiv:2410.02416; diffusers' `AdaptiveProjectedGuidance`): of `c - u`,
    /// held within a length, a share of what runs along c is taken.
    Apg {
        /// How much of what runs along c; all of it where nothing is said.
        eta: f32,
        /// The most that `c - u` of a picture may be long; 15 where nothing is said, 0 for no bound.
        norm: f32,
        /// How much of what was taken before is taken again; 0 where nothing is said.
        momentum: f32,
    },
    /// Perpendicular negative (Armandpour et al. 2023, arXiv:2304.04968; ComfyUI's PerpNeg): the empty prompt is what c is held
    /// against, and of the negative prompt only what is perpendicular to c is kept away from. A step asks the model three times.
    PerpNeg {
        /// How far to keep away; 1 where nothing is said.
        scale: f32,
    },
    /// CFG-Zero* (Fan et al. 2025, arXiv:2503.18886; diffusers' `ClassifierFreeZeroStarGuidance` without steps of zeros): u is
    /// scaled to c.
    CfgZero,
    /// Perturbed attention guidance (Ahn et al. 2024, arXiv:2403.17377; diffusers' PAG pipelines, `pag_applied_layers` "mid"):
    /// besides plain guidance, away from what the prompt makes where the middle block's self-attention sees each pixel alone.
    Pag {
        /// `pag_scale`; 3 where nothing is said.
        scale: f32,
        /// From which share of the steps on; from the first where nothing is said.
        start: f32,
        /// Up to which share of them; to the last where nothing is said.
        end: f32,
    },
    /// Skip layer guidance (diffusers' `SkipLayerGuidance`, of all transformer blocks of the middle): likewise, where the
    /// middle block's transformer passes them over.
    Slg {
        /// `skip_layer_guidance_scale`; 2.8 where nothing is said.
        scale: f32,
        /// `skip_layer_guidance_start`; 0.01 where nothing is said.
        start: f32,
        /// `skip_layer_guidance_stop`; 0.2 where nothing is said.
        end: f32,
    },
}

impl Guidance {
    /// All kinds, with their usual numbers.
    pub const ALL: [Self; 6] = [
        Self::Cfg,
        Self::Apg { eta: 1.0, norm: 15.0, momentum: 0.0 },
        Self::PerpNeg { scale: 1.0 },
        Self::CfgZero,
        Self::Pag { scale: 3.0, start: 0.0, end: 1.0 },
        Self::Slg { scale: 2.8, start: 0.01, end: 0.2 },
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cfg => "cfg",
            Self::Apg { .. } => "apg",
            Self::PerpNeg { .. } => "perp-neg",
            Self::CfgZero => "cfg-zero",
            Self::Pag { .. } => "pag",
            Self::Slg { .. } => "slg",
        }
    }

    /// Its numbers by name, each with what it may be at least.
    fn numbers(&mut self) -> Vec<(&'static str, &mut f32, f32)> {
        match self {
            Self::Cfg | Self::CfgZero => Vec::new(),
            Self::Apg { eta, norm, momentum } => {
                vec![("eta", eta, f32::MIN), ("norm", norm, 0.0), ("momentum", momentum, f32::MIN)]
            }
            Self::PerpNeg { scale } => vec![("scale", scale, f32::MIN)],
            Self::Pag { scale, start, end } | Self::Slg { scale, start, end } => {
                vec![("scale", scale, f32::MIN), ("start", start, 0.0), ("end", end, 0.0)]
            }
        }
    }

    /// How a device puts the guided output together, where its spread is to be pulled back by so much.
    pub(crate) fn guide(self, rescale: f32) -> Guide {
        match self {
            Self::Cfg if rescale > 0.0 => Guide::Rescaled,
            Self::Cfg | Self::Pag { .. } | Self::Slg { .. } => Guide::Sum,
            Self::Apg { .. } => Guide::Projected,
            Self::PerpNeg { .. } => Guide::Perpendicular,
            Self::CfgZero => Guide::Scaled,
        }
    }

    /// How the model is made worse that it leads away from, how far, and between which shares of the steps.
    pub(crate) fn away_from(self) -> Option<(Weakening, f32, [f32; 2])> {
        match self {
            Self::Pag { scale, start, end } => Some((Weakening::Attention, scale, [start, end])),
            Self::Slg { scale, start, end } => Some((Weakening::Blocks, scale, [start, end])),
            _ => None,
        }
    }

    /// How many prompts of its own it asks the model besides a picture's.
    pub(crate) fn prompts(self) -> usize {
        usize::from(matches!(self, Self::PerpNeg { .. } | Self::Pag { .. } | Self::Slg { .. }))
    }

    /// Whether it remembers what it took.
    pub(crate) fn remembers(self) -> bool {
        matches!(self, Self::Apg { momentum, .. } if momentum != 0.0)
    }
}

impl fmt::Display for Guidance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut own, mut usual) = (*self, *self);
        usual = Self::ALL.into_iter().find(|kind| kind.name() == self.name()).unwrap_or(usual);
        f.write_str(self.name())?;
        for ((name, own, _), (_, usual, _)) in own.numbers().into_iter().zip(usual.numbers()) {
            if own != usual {
                write!(f, ":{name}={own}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Guidance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        let mut kind = known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no guidance is called \"{name}\": choose one of {names}")
        })?;
        for word in words {
            let mut numbers = kind.numbers();
            let names: Vec<&str> = numbers.iter().map(|(name, ..)| *name).collect();
            let takes = match &names[..] {
                [] => "no numbers".to_string(),
                names => names.iter().map(|name| format!("{name}=X")).collect::<Vec<_>>().join(", "),
            };
            let wrong = || format!("\"{word}\": {name} takes {takes}");
            let (of, value) = word.split_once('=').ok_or_else(wrong)?;
            let (_, number, least) = numbers.iter_mut().find(|(name, ..)| *name == of).ok_or_else(wrong)?;
            let value = value.parse::<f32>().ok().filter(|value| value.is_finite() && *value >= *least);
            **number = value.ok_or_else(|| match *least == 0.0 {
                true => format!("\"{word}\": {of} is a number of zero or more"),
                false => format!("\"{word}\": {of} is a number"),
            })?;
        }
        Ok(kind)
    }
}

impl TryFrom<String> for Guidance {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Guidance> for String {
    fn from(kind: Guidance) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_what_they_are_called() {
        for (text, kind) in [
            ("cfg", Guidance::Cfg),
            ("apg", Guidance::Apg { eta: 1.0, norm: 15.0, momentum: 0.0 }),
            ("apg:eta=0:norm=2.5:momentum=-0.5", Guidance::Apg { eta: 0.0, norm: 2.5, momentum: -0.5 }),
            ("perp-neg:scale=1.5", Guidance::PerpNeg { scale: 1.5 }),
            ("cfg-zero", Guidance::CfgZero),
            ("pag", Guidance::Pag { scale: 3.0, start: 0.0, end: 1.0 }),
            ("pag:scale=2:end=0.5", Guidance::Pag { scale: 2.0, start: 0.0, end: 0.5 }),
            ("slg:start=0", Guidance::Slg { scale: 2.8, start: 0.0, end: 0.2 }),
        ] {
            assert_eq!((text.parse(), kind.to_string()), (Ok(kind), text.to_string()));
        }
        assert_eq!("apg:norm=15".parse::<Guidance>().unwrap().to_string(), "apg");
        for (text, said) in [
            ("gag", "choose one of cfg, apg, perp-neg, cfg-zero, pag, slg"),
            ("slg:end=-1", "end is a number of zero or more"),
            ("apg:", "apg takes eta=X, norm=X, momentum=X"),
            ("apg:scale=1", "apg takes eta=X"),
            ("apg:norm=-1", "norm is a number of zero or more"),
            ("apg:eta=nan", "eta is a number"),
            ("cfg-zero:eta=1", "cfg-zero takes no numbers"),
        ] {
            let message = text.parse::<Guidance>().unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }
}
