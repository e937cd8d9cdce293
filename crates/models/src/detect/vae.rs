//! An autoencoder's configuration from its shapes (diffusers: `AutoencoderKL`).

use super::{Family, Shapes};
use crate::Result;
use serde_json::{Value, json};

pub(super) fn config(shapes: &Shapes<'_>, family: Family) -> Result<Value> {
    let levels = shapes.count(|i| format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"));
    let channels = |i: usize| shapes.axis(&format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0);
    let channels = (0..levels).rev().map(channels).collect::<Result<Vec<_>>>()?;
    let layers = shapes.count(|j| format!("decoder.up_blocks.0.resnets.{j}.conv1.weight"));
    let mut config = json!({
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": shapes.axis("decoder.conv_out.weight", 0)?,
        "latent_channels": shapes.axis("decoder.conv_in.weight", 1)?,
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "layers_per_block": layers.saturating_sub(1),
        "use_post_quant_conv": shapes.find("post_quant_conv.weight").is_some(),
        "use_quant_conv": shapes.find("quant_conv.weight").is_some(),
        "mid_block_add_attention": shapes.find("decoder.mid_block.attentions.0.to_q.weight").is_some(),
        "scaling_factor": family.scaling_factor(),
    });
    if matches!(family, Family::Sdxl | Family::Refiner) {
        config["force_upcast"] = json!(true);
    }
    Ok(config)
}
