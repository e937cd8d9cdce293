//! The UNet of CompVis' and Stability's code (CompVis/stable-diffusion, `ldm/modules/diffusionmodules/openaimodel.py`) as
//! diffusers has it (`convert_ldm_unet_checkpoint` in loaders/single_file_utils.py), for any number of levels and layers.
//! Both directions go by the same tables.

use super::{Given, View, back, begin, index};
use std::collections::BTreeSet;

/// How the numbered blocks are grouped into levels, which diffusers has by name.
pub(crate) struct Blocks {
    /// Numbered blocks of each level on the way down: residual ones, and the one that halves the size.
    down: Vec<usize>,
    /// The same on the way up, where what doubles the size has no number of its own.
    up: Vec<usize>,
    /// The levels on the way up that have transformers.
    attend: BTreeSet<usize>,
}

/// What is not in a numbered block.
const OUTSIDE: [(&str, &str); 8] = [
    ("input_blocks.0.0.", "conv_in."),
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("label_emb.weight", "class_embedding.weight"),
];

/// What is in a residual block.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
];

/// What changes the size.
const SAMPLED: [(&str, &str); 2] = [("op.", "downsamplers.0.conv."), ("conv.", "upsamplers.0.conv.")];

/// What a transformer's names begin with.
const TRANSFORMER: [&str; 4] = ["norm.", "proj_in.", "proj_out.", "transformer_blocks."];

impl Blocks {
    /// From all names in the original layout: a level ends with the block that halves the size.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let (mut last, mut ends) = (0, Vec::new());
        for name in names {
            let Some((i, rest)) = name.strip_prefix("input_blocks.").and_then(index) else { continue };
            last = last.max(i);
            if rest == "0.op.weight" {
                ends.push(i);
            }
        }
        ends.sort_unstable();
        ends.push(last + 1);
        let starts = [0].into_iter().chain(ends.clone());
        // At the last level there is none that halves, and nothing is found in its place.
        let down: Vec<usize> = starts.zip(&ends).map(|(start, end)| (end - start).max(1)).collect();
        Self { up: down.iter().rev().copied().collect(), down, attend: BTreeSet::new() }
    }

    /// From all of diffusers' names, of modules or of tensors.
    pub fn of_diffusers<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut blocks = Self { down: Vec::new(), up: Vec::new(), attend: BTreeSet::new() };
        for name in names {
            // On the way down what halves the size has a number too.
            let (rest, levels, more) = match name.split_once('.') {
                Some(("down_blocks", rest)) => (rest, &mut blocks.down, 1),
                Some(("up_blocks", rest)) => (rest, &mut blocks.up, 0),
                _ => continue,
            };
            let Some((level, rest)) = index(rest) else { continue };
            if more == 0 && rest.starts_with("attentions.") {
                blocks.attend.insert(level);
            }
            let Some((at, _)) = rest.strip_prefix("resnets.").and_then(index) else { continue };
            levels.resize(levels.len().max(level + 1), more);
            levels[level] = levels[level].max(at + 1 + more);
        }
        blocks
    }

    /// What a tensor gives, by its name in the UNet; none where that is not one of ldm's.
    pub(super) fn given(&self, name: &str) -> Option<Given> {
        let name = begin(name, &OUTSIDE).or_else(|| self.inside(name))?;
        // Some writers leave the dropout out that stands second there.
        let to_out = [("weight", ".to_out.weight"), ("bias", ".to_out.bias")];
        let whole = to_out.into_iter().find_map(|(kind, end)| {
            let stem = name.strip_suffix(end)?;
            Some(format!("{stem}.to_out.0.{kind}"))
        });
        Some(Given { name: whole.unwrap_or(name), view: View::Whole })
    }

    /// What one of diffusers' tensors is called in the original layout, or what a module's names begin with there, by what
    /// they begin with, dot and all; none where that has no such name.
    pub fn original(&self, name: &str) -> Option<String> {
        if let Some(found) = back(name, &OUTSIDE) {
            return Some(found);
        }
        let (half, rest) = name.split_once('.')?;
        let (section, sizes, first) = match half {
            "down_blocks" => ("input_blocks", &self.down, 1),
            "up_blocks" => ("output_blocks", &self.up, 0),
            "mid_block" => return middle(rest),
            _ => return None,
        };
        let (level, rest) = index(rest)?;
        let start = first + sizes.iter().take(level).sum::<usize>();
        let (kind, (at, own)) = rest.split_once('.').and_then(|(kind, rest)| Some((kind, index(rest)?)))?;
        let block = |slot: usize, own: String| format!("{section}.{}.{slot}.{own}", start + at);
        match kind {
            "resnets" => Some(block(0, back(own, &RESNET)?)),
            "attentions" => Some(block(1, own.into())),
            _ => {
                let last = start + sizes.get(level)?.checked_sub(1)?;
                // What doubles the size follows a level's transformers, if it has any.
                let slot =
                    if half == "down_blocks" { 0 } else { 1 + usize::from(self.attend.contains(&level)) };
                Some(format!("{section}.{last}.{slot}.{}", back(rest, &SAMPLED)?))
            }
        }
    }

    fn inside(&self, name: &str) -> Option<String> {
        if let Some((i, rest)) = name.strip_prefix("middle_block.").and_then(index) {
            // A residual block, a transformer, a residual block; or the first alone.
            return layer("mid_block", if is_transformer(rest) { 0 } else { i / 2 }, rest);
        }
        let numbers = |rest| index(rest).and_then(|(i, rest)| Some((i, index(rest)?.1)));
        if let Some((i, rest)) = name.strip_prefix("input_blocks.").and_then(numbers) {
            let (level, at) = place(&self.down, i.checked_sub(1)?)?;
            return layer(&format!("down_blocks.{level}"), at, rest);
        }
        let (i, rest) = name.strip_prefix("output_blocks.").and_then(numbers)?;
        let (level, at) = place(&self.up, i)?;
        layer(&format!("up_blocks.{level}"), at, rest)
    }
}

/// The level that a block is in, and which of it.
fn place(sizes: &[usize], mut i: usize) -> Option<(usize, usize)> {
    for (level, size) in sizes.iter().enumerate() {
        if i < *size {
            return Some((level, i));
        }
        i -= size;
    }
    None
}

fn is_transformer(rest: &str) -> bool {
    TRANSFORMER.iter().any(|start| rest.starts_with(start))
}

/// A tensor of a level's layer, which its own name tells the kind of.
fn layer(block: &str, at: usize, rest: &str) -> Option<String> {
    if let Some(rest) = begin(rest, &RESNET) {
        return Some(format!("{block}.resnets.{at}.{rest}"));
    }
    if is_transformer(rest) {
        return Some(format!("{block}.attentions.{at}.{rest}"));
    }
    Some(format!("{block}.{}", begin(rest, &SAMPLED)?))
}

/// A tensor of the middle, whose residual blocks lie on either side of its transformer.
fn middle(rest: &str) -> Option<String> {
    let (kind, rest) = rest.split_once('.')?;
    let (at, own) = index(rest)?;
    match kind {
        "resnets" => Some(format!("middle_block.{}.{}", 2 * at, back(own, &RESNET)?)),
        "attentions" => Some(format!("middle_block.1.{own}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_grouped_by_where_the_size_halves() {
        // Three levels of two, one and three layers.
        let names =
            ["input_blocks.3.0.op.weight", "input_blocks.5.0.op.weight", "input_blocks.8.0.in_layers.0.bias"];
        let blocks = Blocks::of(names.into_iter());
        assert_eq!((&blocks.down[..], &blocks.up[..]), (&[3, 2, 4][..], &[4, 2, 3][..]));
        for (ldm, diffusers) in [
            ("input_blocks.0.0.weight", "conv_in.weight"),
            (
                "input_blocks.2.1.transformer_blocks.0.attn1.to_out.0.bias",
                "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.bias",
            ),
            ("input_blocks.3.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
            ("input_blocks.4.0.in_layers.2.weight", "down_blocks.1.resnets.0.conv1.weight"),
            ("input_blocks.8.0.skip_connection.weight", "down_blocks.2.resnets.2.conv_shortcut.weight"),
            ("middle_block.0.emb_layers.1.weight", "mid_block.resnets.0.time_emb_proj.weight"),
            ("middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight"),
            ("middle_block.2.out_layers.3.bias", "mid_block.resnets.1.conv2.bias"),
            ("output_blocks.0.0.in_layers.0.weight", "up_blocks.0.resnets.0.norm1.weight"),
            ("output_blocks.3.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            ("output_blocks.4.1.norm.bias", "up_blocks.1.attentions.0.norm.bias"),
            ("output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"),
            (
                "output_blocks.8.1.transformer_blocks.3.attn2.to_out.weight",
                "up_blocks.2.attentions.2.transformer_blocks.3.attn2.to_out.0.weight",
            ),
            ("out.2.bias", "conv_out.bias"),
        ] {
            assert_eq!(blocks.given(ldm), Some(Given::whole(diffusers)), "{ldm}");
        }
        for other in [
            "conv_in.weight",
            "input_blocks.x.0.weight",
            "output_blocks.9.0.in_layers.0.bias",
            "down_blocks.0.resnets.0.norm1.bias",
        ] {
            assert_eq!(blocks.given(other), None, "{other}");
        }
    }

    /// Modules of a UNet of two levels, of two and of one residual blocks; the second alone has transformers on the way up.
    const MODULES: [&str; 9] = [
        "down_blocks.0.resnets.0.conv1",
        "down_blocks.0.resnets.1.conv1",
        "down_blocks.1.resnets.0.conv1",
        "up_blocks.0.resnets.0.conv1",
        "up_blocks.0.resnets.1.conv1",
        "up_blocks.1.resnets.0.conv1",
        "up_blocks.1.resnets.1.conv1",
        "up_blocks.1.resnets.2.conv1",
        "up_blocks.1.attentions.0.proj_in",
    ];

    #[test]
    fn diffusers_tensors_have_the_original_names() {
        let blocks = Blocks::of_diffusers(MODULES.into_iter());
        for (today, then) in [
            ("conv_in.weight", "input_blocks.0.0.weight"),
            ("down_blocks.0.resnets.1.conv1.bias", "input_blocks.2.0.in_layers.2.bias"),
            ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
            ("down_blocks.1.attentions.0.proj_in.weight", "input_blocks.4.1.proj_in.weight"),
            ("mid_block.resnets.1.time_emb_proj.bias", "middle_block.2.emb_layers.1.bias"),
            ("mid_block.attentions.0.norm.bias", "middle_block.1.norm.bias"),
            ("up_blocks.0.resnets.1.conv2.weight", "output_blocks.1.0.out_layers.3.weight"),
            ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.1.1.conv.weight"),
            ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.4.2.conv.weight"),
            ("up_blocks.1.resnets.2.conv_shortcut.weight", "output_blocks.4.0.skip_connection.weight"),
            ("time_embedding.linear_2.", "time_embed.2."),
            ("class_embedding.weight", "label_emb.weight"),
        ] {
            assert_eq!(blocks.original(today).as_deref(), Some(then), "{today}");
        }
        for other in
            ["conv_inner.weight", "mid_block", "down_blocks.0.resnets.99999999999999999999.conv1.bias"]
        {
            assert_eq!(blocks.original(other), None, "{other}");
        }
    }
}
