//! Names in a running average of the weights (CompVis/stable-diffusion, `ldm/modules/ema.py`): those of the model without
//! their dots.

/// What the names of the UNet's average begin with.
pub(super) const PREFIX: &str = "model_ema.diffusion_model";

/// Words that names of the UNet are made of. Where one begins like another, the longer stands first.
const WORDS: [&str; 31] = [
    "input_blocks",
    "output_blocks",
    "middle_block",
    "time_embed",
    "label_emb",
    "in_layers",
    "out_layers",
    "emb_layers",
    "skip_connection",
    "transformer_blocks",
    "proj_in",
    "proj_out",
    "proj",
    "attn1",
    "attn2",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "norm1",
    "norm2",
    "norm3",
    "norm",
    "ff",
    "net",
    "conv",
    "cond_proj",
    "out",
    "op",
    "weight",
    "bias",
];

/// The name with its dots, where it is one of the UNet's. `input_blocks` and `output_blocks` are followed by two numbers, of
/// which the second has one digit, as `label_emb`'s first; other words by one at most.
pub(super) fn dotted(name: &str) -> Option<String> {
    let (mut rest, mut parts) = (name, Vec::new());
    while !rest.is_empty() {
        let word = WORDS.iter().find(|word| rest.starts_with(**word))?;
        rest = &rest[word.len()..];
        parts.push(*word);
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        rest = after;
        match (*word, digits) {
            (_, 0) => {}
            ("input_blocks" | "output_blocks" | "label_emb", 2..) => {
                let (first, second) = number.split_at(digits - 1);
                parts.extend([first, second]);
            }
            _ => parts.push(number),
        }
    }
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_put_back() {
        for name in [
            "input_blocks.0.0.weight",
            "input_blocks.11.0.in_layers.2.weight",
            "input_blocks.3.0.op.bias",
            "output_blocks.10.1.transformer_blocks.12.attn1.to_out.0.weight",
            "output_blocks.2.1.conv.weight",
            "middle_block.1.transformer_blocks.0.ff.net.0.proj.bias",
            "middle_block.1.transformer_blocks.0.norm3.weight",
            "middle_block.1.norm.weight",
            "middle_block.1.proj_in.weight",
            "input_blocks.4.0.skip_connection.weight",
            "input_blocks.4.0.emb_layers.1.bias",
            "label_emb.0.2.weight",
            "time_embed.2.bias",
            "out.0.weight",
        ] {
            assert_eq!(dotted(&name.replace('.', "")).as_deref(), Some(name));
        }
        assert_eq!(dotted("decay"), None);
    }
}
