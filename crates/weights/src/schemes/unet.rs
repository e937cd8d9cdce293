//! The UNet of CompVis' and Stability's code (CompVis/stable-diffusion, `ldm/modules/diffusionmodules/openaimodel.py`) as
//! diffusers has it (`convert_ldm_unet_checkpoint` in loaders/single_file_utils.py), for any number of levels and layers.

use super::{Given, View, begin, index};

/// How the numbered blocks are grouped into levels, which diffusers has by name.
pub(super) struct Blocks {
    /// Residual blocks of each level on the way down; on the way up it has one more.
    layers: Vec<usize>,
}

/// What is not in a numbered block.
pub(crate) const OUTSIDE: [(&str, &str); 8] = [
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
pub(crate) const RESNET: [(&str, &str); 6] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
];

/// What a transformer's names begin with.
const TRANSFORMER: [&str; 4] = ["norm.", "proj_in.", "proj_out.", "transformer_blocks."];

impl Blocks {
    /// From all names: a level ends with the block that halves the size.
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
        Self { layers: starts.zip(&ends).map(|(start, end)| (end - start).saturating_sub(1)).collect() }
    }

    /// What a tensor gives, by its name in the UNet; none where that is not one of ldm's.
    pub fn given(&self, name: &str) -> Option<Given> {
        let name = begin(name, &OUTSIDE).or_else(|| self.inside(name))?;
        // Some writers leave the dropout out that stands second there.
        let to_out = [("weight", ".to_out.weight"), ("bias", ".to_out.bias")];
        let whole = to_out.into_iter().find_map(|(kind, end)| {
            let stem = name.strip_suffix(end)?;
            Some(format!("{stem}.to_out.0.{kind}"))
        });
        Some(Given { name: whole.unwrap_or(name), view: View::Whole })
    }

    fn inside(&self, name: &str) -> Option<String> {
        if let Some((i, rest)) = name.strip_prefix("middle_block.").and_then(index) {
            // A residual block, a transformer, a residual block; or the first alone.
            return layer("mid_block", if is_transformer(rest) { 0 } else { i / 2 }, rest);
        }
        let numbers = |rest| index(rest).and_then(|(i, rest)| Some((i, index(rest)?.1)));
        if let Some((i, rest)) = name.strip_prefix("input_blocks.").and_then(numbers) {
            let (level, at) = place(self.layers.iter().copied(), i.checked_sub(1)?)?;
            return layer(&format!("down_blocks.{level}"), at, rest);
        }
        let (i, rest) = name.strip_prefix("output_blocks.").and_then(numbers)?;
        let (level, at) = place(self.layers.iter().rev().copied(), i)?;
        layer(&format!("up_blocks.{level}"), at, rest)
    }
}

/// The level that a block is in, and which of it: a level has one more than it has layers (on the way down the one that
/// halves the size).
fn place(layers: impl Iterator<Item = usize>, mut i: usize) -> Option<(usize, usize)> {
    for (level, layers) in layers.enumerate() {
        if i <= layers {
            return Some((level, i));
        }
        i -= layers + 1;
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
    let sampled = [("op.", "downsamplers.0.conv."), ("conv.", "upsamplers.0.conv.")];
    Some(format!("{block}.{}", begin(rest, &sampled)?))
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
        assert_eq!(blocks.layers, [2, 1, 3]);
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
}
