//! The original (ldm) layout of UNets, which kohya's files for SDXL and ComfyUI's of any kind have.

use super::{Prefix, TEXT, TEXT_2, UNET};
use crate::schemes::{MANY, unet};

pub const NAME: &str = "ComfyUI";

pub const PREFIXES: &[Prefix] = &[
    ("diffusion_model.", Some(UNET)),
    ("model.diffusion_model.", Some(UNET)),
    ("text_encoders.clip_l.transformer.", Some(TEXT)),
    ("text_encoders.clip_h.transformer.", Some(TEXT)),
    ("text_encoders.clip_g.transformer.", Some(TEXT_2)),
];

/// How a UNet's blocks are numbered through: how many each level has, on the way down and on the way up.
pub struct Numbering {
    down: Vec<usize>,
    up: Vec<usize>,
}

impl Numbering {
    /// By the paths of all its modules.
    pub fn of<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Self {
        let levels = |half: &str, more: usize| {
            let mut sizes: Vec<usize> = Vec::new();
            for path in paths.clone() {
                let place = || {
                    let (level, rest) = path.strip_prefix(half)?.split_once(".resnets.")?;
                    Some((level.parse::<usize>().ok()?, rest.split('.').next()?.parse::<usize>().ok()?))
                };
                let Some((level, at)) = place().filter(|(level, at)| *level.max(at) < MANY) else { continue };
                sizes.resize(sizes.len().max(level + 1), more);
                sizes[level] = sizes[level].max(at + 1 + more);
            }
            sizes
        };
        // On the way down what halves the size has a number too.
        Self { down: levels("down_blocks.", 1), up: levels("up_blocks.", 0) }
    }

    fn down(&self, level: usize) -> usize {
        1 + self.down.iter().take(level).sum::<usize>()
    }

    fn up(&self, level: usize) -> usize {
        self.up.iter().take(level).sum()
    }

    /// A module's paths in the original layout, where that has another: upsamplers follow a level's attention, if it has any
    /// (diffusers' `loaders/single_file_utils.py`).
    pub fn original(&self, path: &str) -> Vec<String> {
        if let Some(found) = then(path, &unet::OUTSIDE) {
            return vec![found];
        }
        let parts: Vec<&str> = path.splitn(5, '.').collect();
        let number = |at: usize| parts.get(at)?.parse::<usize>().ok().filter(|n| *n < MANY);
        let [kind, rest] = [2, 4].map(|at| parts.get(at).copied().unwrap_or_default());
        let (block, next) = match (parts[0], number(1), number(3)) {
            ("down_blocks", Some(level), Some(at)) => {
                (format!("input_blocks.{}", self.down(level) + at), self.down(level + 1))
            }
            ("up_blocks", Some(level), Some(at)) => {
                (format!("output_blocks.{}", self.up(level) + at), self.up(level + 1))
            }
            ("mid_block", ..) => return middle(path).into_iter().collect(),
            _ => return Vec::new(),
        };
        let last = next.saturating_sub(1);
        match kind {
            "resnets" => residual(&format!("{block}.0"), rest).into_iter().collect(),
            "attentions" => vec![format!("{block}.1.{rest}")],
            "downsamplers" => vec![format!("input_blocks.{last}.0.op")],
            "upsamplers" => [1, 2].map(|at| format!("output_blocks.{last}.{at}.conv")).into(),
            _ => Vec::new(),
        }
    }
}

/// A module's path in the original layout, by a table of what names begin with there and today.
fn then(path: &str, table: &[(&str, &str)]) -> Option<String> {
    let path = format!("{path}.");
    let found =
        table.iter().find_map(|(then, today)| Some(format!("{then}{}", path.strip_prefix(today)?)))?;
    Some(found.trim_end_matches('.').to_owned())
}

/// A residual block's module.
fn residual(block: &str, own: &str) -> Option<String> {
    Some(format!("{block}.{}", then(own, &unet::RESNET)?))
}

/// A module of the middle, whose residual blocks lie on either side of its attention.
fn middle(path: &str) -> Option<String> {
    if let Some(own) = path.strip_prefix("mid_block.attentions.0.") {
        return Some(format!("middle_block.1.{own}"));
    }
    let (at, own) = path.strip_prefix("mid_block.resnets.")?.split_once('.')?;
    residual(&format!("middle_block.{}", 2 * usize::from(at.parse::<u8>().ok()?)), own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UNet of two levels, of two and of one residual blocks.
    const PATHS: [&str; 8] = [
        "down_blocks.0.resnets.0.conv1",
        "down_blocks.0.resnets.1.conv1",
        "down_blocks.1.resnets.0.conv1",
        "up_blocks.0.resnets.0.conv1",
        "up_blocks.0.resnets.1.conv1",
        "up_blocks.1.resnets.0.conv1",
        "up_blocks.1.resnets.1.conv1",
        "up_blocks.1.resnets.2.conv1",
    ];

    #[test]
    fn modules_have_the_original_names() {
        let numbering = Numbering::of(PATHS.into_iter());
        let cases = [
            ("conv_in", "input_blocks.0.0"),
            ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
            ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
            (
                "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
                "middle_block.1.transformer_blocks.0.attn1.to_q",
            ),
            ("up_blocks.0.resnets.1.conv2", "output_blocks.1.0.out_layers.3"),
            ("up_blocks.1.resnets.2.conv_shortcut", "output_blocks.4.0.skip_connection"),
            ("up_blocks.1.attentions.2.proj_out", "output_blocks.4.1.proj_out"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("conv_out", "out.2"),
        ];
        for (today, then) in cases {
            assert_eq!(numbering.original(today), [then], "{today}");
        }
        let upsampler = numbering.original("up_blocks.0.upsamplers.0.conv");
        assert_eq!(upsampler, ["output_blocks.1.1.conv", "output_blocks.1.2.conv"]);
        assert!(numbering.original("conv_inner").is_empty() && numbering.original("mid_block").is_empty());
        assert!(numbering.original("down_blocks.0.resnets.99999999999999999999.conv1").is_empty());
    }
}
