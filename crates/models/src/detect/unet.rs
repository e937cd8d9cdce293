//! A UNet's configuration from its shapes (diffusers: `UNet2DConditionModel`).

use super::facts::{context, is_linear};
use super::{Family, Predicts, Shapes};
use crate::Result;
use serde_json::{Value, json};

/// Channels of a head, but for Stable Diffusion 1.
const HEAD: usize = 64;
/// Stable Diffusion 1's heads, at every level.
const HEADS: usize = 8;

/// Sinusoids of each number that SDXL's UNets are told of a picture.
const IDS: usize = 256;

/// What a level is made of.
struct Level {
    channels: usize,
    /// Residual blocks.
    layers: usize,
    /// Blocks of each transformer on the way down, and on the way up.
    down: Vec<usize>,
    up: Vec<usize>,
    context: Option<usize>,
}

/// Height and width of the latents that the family was trained on.
fn sample_size(family: Family, prediction: Predicts) -> usize {
    match (family, prediction) {
        (Family::Sd2, Predicts::V) => 96,
        (Family::Sd1 | Family::Sd2, _) => 64,
        (Family::Sdxl | Family::Refiner, _) => 128,
    }
}

pub(super) fn config(shapes: &Shapes<'_>, family: Family, prediction: Predicts) -> Result<Value> {
    let count = shapes.count(|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
    let levels = (0..count).map(|i| level(shapes, i, count)).collect::<Result<Vec<_>>>()?;
    let last = levels.last().ok_or_else(|| shapes.wrong("the UNet has no levels".into()))?;
    let middle = depth(shapes, "mid_block", 0);
    let context =
        context(shapes.tensors).ok_or_else(|| shapes.wrong("the UNet attends to no text".into()))?;

    let kind = |depth: &[usize], way: &str| match depth {
        [] => format!("{way}Block2D"),
        _ => format!("CrossAttn{way}Block2D"),
    };
    let depth_of = |level: &Level| level.down.first().or(level.up.first()).copied();
    let deepest = levels.iter().filter_map(depth_of).next_back().unwrap_or(1);
    let is_last = |i: usize| i + 1 == count && middle > 0;
    // A level without transformers has the middle's depth where it is the last, else any.
    let depths: Vec<usize> = (0..count)
        .map(|i| depth_of(&levels[i]).unwrap_or(if is_last(i) { middle } else { deepest }))
        .collect();
    // Distilled models have unequal ones in a level.
    let is_equal = |(level, depth): (&Level, &usize)| level.down.iter().chain(&level.up).all(|n| n == depth);
    let equal = levels.iter().zip(&depths).all(is_equal);
    let each = |own: &[usize], depth: &usize| if own.is_empty() { json!(depth) } else { json!(own) };
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let time = shapes.axis("time_embedding.linear_1.weight", 0)?;
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "sample_size": sample_size(family, prediction),
        "in_channels": shapes.axis("conv_in.weight", 1)?,
        "out_channels": shapes.axis("conv_out.weight", 0)?,
        "conv_in_kernel": shapes.axis("conv_in.weight", 2)?,
        "conv_out_kernel": shapes.axis("conv_out.weight", 2)?,
        "block_out_channels": channels,
        "down_block_types": levels.iter().map(|level| kind(&level.down, "Down")).collect::<Vec<_>>(),
        "up_block_types": levels.iter().rev().map(|level| kind(&level.up, "Up")).collect::<Vec<_>>(),
        "layers_per_block": levels.iter().map(|level| level.layers).collect::<Vec<_>>(),
        "transformer_layers_per_block": depths,
        "attention_head_dim": channels.iter().map(|c| heads(family, *c)).collect::<Vec<_>>(),
        "cross_attention_dim": levels.iter().map(|level| level.context.unwrap_or(context)).collect::<Vec<_>>(),
        "use_linear_projection": is_linear(shapes.tensors),
        "time_embedding_dim": time,
        "mid_block_type": match (middle, shapes.find("mid_block.resnets.0.conv1.weight")) {
            (1.., _) => json!("UNetMidBlock2DCrossAttn"),
            (0, Some(_)) => json!("UNetMidBlock2D"),
            (0, None) => Value::Null,
        },
    });
    if last.down.is_empty() && middle > 0 && middle != depths[count - 1] {
        return Err(shapes.wrong("the middle's transformer is of another depth than the last level's".into()));
    }
    if !equal {
        let down = levels.iter().zip(&depths).map(|(level, depth)| each(&level.down, depth));
        let up = levels.iter().zip(&depths).rev().map(|(level, depth)| each(&level.up, depth));
        config["transformer_layers_per_block"] = json!(down.collect::<Vec<_>>());
        config["reverse_transformer_layers_per_block"] = json!(up.collect::<Vec<_>>());
    }
    // What is not drawn with (classes) is said all the same: the reading of configurations refuses it by name.
    if let Some(shape) = shapes.find("time_embedding.cond_proj.weight") {
        config["time_cond_proj_dim"] = json!(shape.get(1));
    }
    if let Some(shape) = shapes.find("add_embedding.linear_1.weight") {
        config["addition_embed_type"] = json!("text_time");
        config["projection_class_embeddings_input_dim"] = json!(shape.get(1));
        config["addition_time_embed_dim"] = json!(IDS);
    }
    if let Some(shape) = shapes.find("class_embedding.weight") {
        config["num_class_embeds"] = json!(shape.first());
    }
    Ok(config)
}

fn level(shapes: &Shapes<'_>, i: usize, count: usize) -> Result<Level> {
    let (down, up) = (format!("down_blocks.{i}"), format!("up_blocks.{}", count - 1 - i));
    let resnets = |block: &str| shapes.count(|j| format!("{block}.resnets.{j}.conv1.weight"));
    let depths =
        |block: &str| (0..resnets(block)).map(|j| depth(shapes, block, j)).filter(|n| *n > 0).collect();
    let context = [&down, &up].into_iter().find_map(|block| {
        let shape = shapes.find(&format!("{block}.attentions.0.transformer_blocks.0.attn2.to_k.weight"));
        shape?.get(1).copied()
    });
    let (layers, back) = (resnets(&down), resnets(&up));
    if back != layers + 1 {
        let why =
            format!("level {i} of the UNet has {layers} layers down and {back} up, where one more belongs");
        return Err(shapes.wrong(why));
    }
    let channels = shapes.axis(&format!("{down}.resnets.0.conv1.weight"), 0)?;
    Ok(Level { channels, layers, down: depths(&down), up: depths(&up), context })
}

/// Blocks of a transformer; none where there is none.
fn depth(shapes: &Shapes<'_>, block: &str, j: usize) -> usize {
    shapes.count(|k| format!("{block}.attentions.{j}.transformer_blocks.{k}.attn1.to_q.weight"))
}

/// Heads cannot be seen in shapes.
fn heads(family: Family, channels: usize) -> usize {
    match family {
        Family::Sd1 => HEADS,
        _ => (channels / HEAD).max(1),
    }
}
