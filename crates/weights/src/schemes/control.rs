//! Control nets of lllyasviel/ControlNet's code (cldm/cldm.py) as diffusers has them (`convert_controlnet_checkpoint` in
//! loaders/single_file_utils.py): half a UNet, and what is not in one.

use super::{Given, Renamed, index, unet};
use crate::Result;
use calotype_tensor::Tensors;
use std::rc::Rc;

/// What a net's names begin with in a file that holds a model too.
const PREFIX: &str = "control_model.";

/// A control net's tensors under diffusers' names, of a file in either layout, which may hold a model besides.
pub fn control_net(source: Rc<dyn Tensors>) -> Result<Renamed> {
    let names = source.names();
    let is_beside = names.iter().any(|name| name.starts_with(PREFIX));
    let own = |name: &&'_ str| if is_beside { name.starts_with(PREFIX) } else { true };
    let members: Vec<(&str, &str)> = names
        .iter()
        .copied()
        .filter(own)
        .map(|name| (name, name.strip_prefix(PREFIX).unwrap_or(name)))
        .collect();
    let blocks = unet::Blocks::of(members.iter().map(|(_, name)| *name));
    let given = |name: &str| {
        let found = given(name).map(Given::whole).or_else(|| blocks.given(name));
        found.unwrap_or_else(|| Given::whole(name))
    };
    let given: Vec<(&str, Given)> = members.iter().map(|(stored, name)| (*stored, given(name))).collect();
    Ok(Renamed::new(Rc::clone(&source), given))
}

/// What is not in a UNet.
fn given(name: &str) -> Option<String> {
    if let Some(kind) = name.strip_prefix("middle_block_out.0.") {
        return Some(format!("controlnet_mid_block.{kind}"));
    }
    if let Some((i, kind)) = name.strip_prefix("zero_convs.").and_then(index) {
        return Some(format!("controlnet_down_blocks.{i}.{}", kind.strip_prefix("0.")?));
    }
    // Every other is an activation.
    let (i, kind) = name.strip_prefix("input_hint_block.").and_then(index)?;
    let layer = match i {
        0 => "conv_in".to_string(),
        14 => "conv_out".to_string(),
        i => format!("blocks.{}", (i / 2).checked_sub(1)?),
    };
    Some(format!("controlnet_cond_embedding.{layer}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_tensor::{DType, HostTensor, Made, Shape};

    #[test]
    fn a_file_of_either_layout_has_diffusers_names() {
        for (prefix, more) in [("", &[][..]), (PREFIX, &["model.diffusion_model.out.0.bias"][..])] {
            for (theirs, ours) in [
                ("zero_convs.11.0.bias", "controlnet_down_blocks.11.bias"),
                ("middle_block_out.0.weight", "controlnet_mid_block.weight"),
                ("input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"),
                ("input_hint_block.2.weight", "controlnet_cond_embedding.blocks.0.weight"),
                ("input_hint_block.12.bias", "controlnet_cond_embedding.blocks.5.bias"),
                ("input_hint_block.14.bias", "controlnet_cond_embedding.conv_out.bias"),
                ("input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight"),
                ("middle_block.2.in_layers.0.weight", "mid_block.resnets.1.norm1.weight"),
                ("controlnet_mid_block.bias", "controlnet_mid_block.bias"),
            ] {
                let names = more.iter().map(|name| name.to_string()).chain([format!("{prefix}{theirs}")]);
                let tensors: Vec<_> = names.map(|name| (name, DType::F32, Shape::new(&[1]))).collect();
                let tensors = tensors.iter().map(|(name, dtype, shape)| (&name[..], *dtype, *shape));
                let file = Made::new("file", tensors, |_, shape| HostTensor::from_f32(shape, &[0.0]));
                assert_eq!(control_net(Rc::new(file)).unwrap().names(), [ours], "{prefix}{theirs}");
            }
        }
    }
}
