//! The autoencoder of CompVis' code (CompVis/stable-diffusion, `ldm/modules/diffusionmodules/model.py`) as diffusers has it
//! (`convert_ldm_vae_checkpoint` in loaders/single_file_utils.py), for any number of levels and layers.

use super::{Given, View, back, begin, index};
use crate::LEGACY_ATTENTION;

/// How many levels the decoder has: it counts them from the picture's side, diffusers from the latents'.
pub(super) struct Levels(usize);

const MIDDLE: [(&str, &str); 7] = [
    ("block_1.", "mid_block.resnets.0."),
    ("block_2.", "mid_block.resnets.1."),
    ("attn_1.norm.", "mid_block.attentions.0.group_norm."),
    ("attn_1.q.", "mid_block.attentions.0.to_q."),
    ("attn_1.k.", "mid_block.attentions.0.to_k."),
    ("attn_1.v.", "mid_block.attentions.0.to_v."),
    ("attn_1.proj_out.", "mid_block.attentions.0.to_out.0."),
];

const OUTSIDE: [(&str, &str); 1] = [("norm_out.", "conv_norm_out.")];

/// What is in a level.
const LEVEL: [(&str, &str); 3] = [
    ("block.", "resnets."),
    ("downsample.conv.", "downsamplers.0.conv."),
    ("upsample.conv.", "upsamplers.0.conv."),
];

const SHORTCUT: [&str; 2] = [".nin_shortcut.", ".conv_shortcut."];

/// What some writers put into the half that it stands beside.
const QUANT: [(&str, &str); 2] =
    [("encoder.quant_conv.", "quant_conv."), ("decoder.post_quant_conv.", "post_quant_conv.")];

impl Levels {
    /// From all names, in either layout.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let level = |name: &str| {
            let rest =
                name.strip_prefix("decoder.up.").or_else(|| name.strip_prefix("decoder.up_blocks."))?;
            Some(index(rest)?.0 + 1)
        };
        Self(names.filter_map(level).max().unwrap_or(0))
    }

    /// What a tensor gives, by its name in the autoencoder. diffusers' own names are understood too, today's and those
    /// before 0.15; what is unknown keeps its name.
    pub fn given(&self, name: &str) -> Given {
        let ours = begin(name, &QUANT).or_else(|| self.ldm(name)).unwrap_or_else(|| {
            let renamed = |name: String, (new, old): &(&str, &str)| name.replace(old, new);
            if name.contains(".attentions.") {
                LEGACY_ATTENTION.iter().fold(name.into(), renamed)
            } else {
                name.into()
            }
        });
        let matrix = ours.contains(".attentions.") && ours.ends_with(".weight");
        Given { name: ours, view: if matrix { View::Matrix } else { View::Whole } }
    }

    fn ldm(&self, name: &str) -> Option<String> {
        let (half, rest) = name.split_once('.').filter(|(half, _)| ["encoder", "decoder"].contains(half))?;
        let rest = begin(rest, &OUTSIDE)
            .or_else(|| begin(rest.strip_prefix("mid.")?, &MIDDLE))
            .or_else(|| {
                let (i, rest) = rest.strip_prefix("down.").and_then(index)?;
                Some(format!("down_blocks.{i}.{}", begin(rest, &LEVEL)?))
            })
            .or_else(|| {
                let (i, rest) = rest.strip_prefix("up.").and_then(index)?;
                Some(format!("up_blocks.{}.{}", self.0.checked_sub(i + 1)?, begin(rest, &LEVEL)?))
            })?;
        let [then, today] = SHORTCUT;
        Some(format!("{half}.{}", rest.replace(then, today)))
    }

    /// Where a tensor is stored, by diffusers' name: attention is made of convolutions there. What has no other name keeps
    /// its own.
    pub fn original(&self, name: &str) -> Given {
        let stored = self.stored(name).unwrap_or_else(|| name.into());
        let matrix = name.contains(".attentions.") && name.ends_with(".weight");
        Given { name: stored, view: if matrix { View::Matrix } else { View::Whole } }
    }

    fn stored(&self, name: &str) -> Option<String> {
        let (half, rest) = name.split_once('.').filter(|(half, _)| ["encoder", "decoder"].contains(half))?;
        let level = |begin: &str| rest.strip_prefix(begin).and_then(index);
        let rest = match (level("down_blocks."), level("up_blocks.")) {
            (Some((i, rest)), _) => format!("down.{i}.{}", back(rest, &LEVEL)?),
            (_, Some((i, rest))) => format!("up.{}.{}", self.0.checked_sub(i + 1)?, back(rest, &LEVEL)?),
            _ => back(rest, &OUTSIDE)
                .or_else(|| Some(format!("mid.{}", back(rest, &MIDDLE)?)))
                .unwrap_or_else(|| rest.into()),
        };
        let [then, today] = SHORTCUT;
        Some(format!("{half}.{}", rest.replace(today, then)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_comes_to_one() {
        let levels =
            Levels::of(["decoder.up.0.block.0.norm1.bias", "decoder.up.2.block.0.norm1.bias"].into_iter());
        let (whole, matrix) = (View::Whole, View::Matrix);
        for (theirs, ours, view) in [
            (
                "encoder.down.1.block.0.nin_shortcut.weight",
                "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
                whole,
            ),
            ("encoder.down.0.downsample.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.bias", whole),
            ("decoder.up.2.block.1.conv2.weight", "decoder.up_blocks.0.resnets.1.conv2.weight", whole),
            ("decoder.up.0.block.1.norm1.bias", "decoder.up_blocks.2.resnets.1.norm1.bias", whole),
            ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.1.upsamplers.0.conv.weight", whole),
            ("decoder.mid.block_2.conv1.bias", "decoder.mid_block.resnets.1.conv1.bias", whole),
            ("decoder.mid.attn_1.q.weight", "decoder.mid_block.attentions.0.to_q.weight", matrix),
            ("decoder.mid.attn_1.norm.bias", "decoder.mid_block.attentions.0.group_norm.bias", whole),
            ("encoder.mid.attn_1.proj_out.weight", "encoder.mid_block.attentions.0.to_out.0.weight", matrix),
            (
                "decoder.mid_block.attentions.0.query.weight",
                "decoder.mid_block.attentions.0.to_q.weight",
                matrix,
            ),
            (
                "decoder.mid_block.attentions.0.proj_attn.bias",
                "decoder.mid_block.attentions.0.to_out.0.bias",
                whole,
            ),
            ("decoder.norm_out.weight", "decoder.conv_norm_out.weight", whole),
            ("decoder.conv_in.weight", "decoder.conv_in.weight", whole),
            ("decoder.post_quant_conv.bias", "post_quant_conv.bias", whole),
            ("quant_conv.weight", "quant_conv.weight", whole),
            ("loss.logvar", "loss.logvar", whole),
        ] {
            assert_eq!(levels.given(theirs), Given { name: ours.into(), view }, "{theirs}");
            // Of several spellings one is written.
            if !theirs.contains("attentions") && !theirs.contains("quant_conv") {
                assert_eq!(levels.original(ours), Given { name: theirs.into(), view }, "{ours}");
            }
        }
    }
}
