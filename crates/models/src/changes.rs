//! What a UNet is made to compute otherwise than it was trained to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// All of it; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// How the way up takes the skip connections, where not as they are.
    pub free_u: Option<FreeU>,
    /// What some images of the batch are spared.
    pub weakened: Option<Weakened>,
    /// What becomes of the deep layers.
    pub deep: Deep,
}

/// Images of the batch whose middle block is made worse, to be held against what it makes of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weakened {
    /// How.
    pub by: Weakening,
    /// The first of those images.
    pub first: usize,
    /// How many there are.
    pub images: usize,
}

/// How a middle block is made worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// Its self-attention looks at each pixel alone: the values are its output (Ahn et al. 2024, arXiv:2403.17377; diffusers:
    /// `PAGIdentitySelfAttnProcessor2_0`).
    Attention,
    /// Its transformer's blocks are passed over (diffusers: `SkipLayerGuidance`, `TransformerBlockSkipHook`).
    Blocks,
}

/// What becomes of the deep layers: all but the last `n` of the way up, and but what the skip connections to those take (Ma et
/// al. 2023, arXiv:2312.00858; the package DeepCache, whose branch is n less 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deep {
    /// They are computed.
    #[default]
    Fresh,
    /// What they yield is an output too, `deep`.
    Kept(usize),
    /// What they yielded is an input, `deep`.
    Reused(usize),
}

/// FreeU (Si et al. 2023, arXiv:2309.11497): half of the way up's own channels turned up, and the slowest waves of the skip
/// connections turned down. In words `b1,b2,s1,s2`, with `v1:` or `v2:` before it by the authors' rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FreeU {
    /// Where and how.
    pub rule: FreeURule,
    /// What multiplies the half, at the first stage and at the second: more than 1.
    pub backbone: [f32; 2],
    /// What multiplies the waves: less than 1.
    pub skip: [f32; 2],
}

/// Which layers FreeU's stages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeURule {
    /// The first block of the way up and the second (diffusers: `enable_freeu`).
    Blocks,
    /// Layers that take four times as many channels as the UNet's first has, and twice as many (the authors' code; ComfyUI's
    /// `FreeU`).
    Channels,
    /// The same, and a pixel is turned up by as much as its mean stands out (ComfyUI's `FreeU_V2`).
    Structured,
}

impl FreeU {
    /// The stage of a layer of the way up, of the block of this index, which takes so many channels from the layer before in
    /// a UNet whose first layer has so many.
    pub(crate) fn stage(&self, block: usize, channels: usize, first: usize) -> Option<usize> {
        match self.rule {
            FreeURule::Blocks => Some(block).filter(|block| *block < 2),
            _ => [4, 2].into_iter().position(|times| channels == times * first),
        }
    }
}

impl fmt::Display for FreeU {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            FreeURule::Blocks => "",
            FreeURule::Channels => "v1:",
            FreeURule::Structured => "v2:",
        };
        let ([b1, b2], [s1, s2]) = (self.backbone, self.skip);
        write!(f, "{rule}{b1},{b2},{s1},{s2}")
    }
}

impl FromStr for FreeU {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rule, numbers) = match text.split_once(':') {
            None => (FreeURule::Blocks, text),
            Some(("v1", numbers)) => (FreeURule::Channels, numbers),
            Some(("v2", numbers)) => (FreeURule::Structured, numbers),
            Some(_) => (FreeURule::Blocks, ""),
        };
        let number = |word: &str| word.trim().parse::<f32>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let numbers: Option<Vec<f32>> = numbers.split(',').map(number).collect();
        match numbers.as_deref() {
            Some(&[b1, b2, s1, s2]) => Ok(Self { rule, backbone: [b1, b2], skip: [s1, s2] }),
            _ => Err(format!(
                "\"{text}\" is no FreeU: write b1,b2,s1,s2, four numbers above zero such as 1.5,1.6,0.9,0.2, with v1: or v2: \
                 before them for ComfyUI's rules"
            )),
        }
    }
}

impl TryFrom<String> for FreeU {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FreeU> for String {
    fn from(free_u: FreeU) -> Self {
        free_u.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_u_is_four_numbers_and_whose_rules() {
        for (text, rule) in [
            ("1.5,1.6,0.9,0.2", FreeURule::Blocks),
            ("v1:1.5,1.6,0.9,0.2", FreeURule::Channels),
            ("v2:1.5,1.6,0.9,0.2", FreeURule::Structured),
        ] {
            let free_u = FreeU { rule, backbone: [1.5, 1.6], skip: [0.9, 0.2] };
            assert_eq!((text.parse(), free_u.to_string()), (Ok(free_u), text.to_string()));
        }
        for text in ["", "1,2,3", "1,2,3,4,5", "v3:1,2,3,4", "1,2,0,4", "1,nan,3,4", "v1:"] {
            assert!(text.parse::<FreeU>().unwrap_err().contains("b1,b2,s1,s2"), "{text}");
        }
    }

    #[test]
    fn stages_are_blocks_or_channels() {
        let of = |rule| FreeU { rule, backbone: [1.0; 2], skip: [1.0; 2] };
        // The layers of Stable Diffusion's way up.
        let layers = [(0, 1280), (1, 1280), (2, 1280), (2, 640), (3, 640), (3, 320)];
        let stages = |rule| layers.map(|(block, channels)| of(rule).stage(block, channels, 320));
        assert_eq!(stages(FreeURule::Blocks), [Some(0), Some(1), None, None, None, None]);
        let by_channels = [Some(0), Some(0), Some(0), Some(1), Some(1), None];
        assert_eq!(stages(FreeURule::Channels), by_channels);
        assert_eq!(stages(FreeURule::Structured), by_channels);
    }
}
