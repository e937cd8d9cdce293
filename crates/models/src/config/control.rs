use super::UNetConfig;
use super::fields::Fields;
use crate::{Error, Result};
use calotype_tensor::Tensors;
use serde_json::{Value, json};

/// A control net's `config.json` (diffusers: `ControlNetModel`): half a UNet, and what brings a picture to the size of latents.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlConfig {
    /// The half UNet; what it says of the way up means nothing.
    pub unet: UNetConfig,
    /// Channels of what the picture becomes, from its own size to the latents'.
    pub hint_channels: Vec<usize>,
}

/// Channels of all published nets.
const HINT: [usize; 4] = [16, 32, 96, 256];

/// The layer that leads from a picture into the net.
const HINT_IN: &str = "controlnet_cond_embedding.conv_in.weight";

impl ControlConfig {
    /// Reads a configuration; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        let class = f.get("_class_name", Value::Null)?;
        f.class_of("_class_name", class, &["ControlNetModel"])?;
        for (field, value) in [
            ("conditioning_channels", json!(3)),
            ("controlnet_conditioning_channel_order", json!("rgb")),
            ("global_pool_conditions", json!(false)),
        ] {
            f.only(field, &[value])?;
        }
        let hint_channels = f.counts("conditioning_embedding_out_channels", &HINT)?;
        // What is left is a UNet's, but for the way up.
        let mut unet: Value = serde_json::from_str(text).unwrap_or_default();
        for field in OWN {
            unet.as_object_mut().map(|fields| fields.remove(field));
        }
        unet["out_channels"] = unet.get("in_channels").cloned().unwrap_or(json!(4));
        let down = unet.get("down_block_types").and_then(Value::as_array).cloned();
        let up = |block: &Value| json!(block.as_str().unwrap_or_default().replace("Down", "Up"));
        if let Some(down) = down {
            unet["up_block_types"] = down.iter().rev().map(up).collect();
        }
        Ok(Self { unet: UNetConfig::parse(file, &unet.to_string())?, hint_channels })
    }

    /// That of a net whose file says nothing of it: half of the UNet that it steers, of which a net is a copy where its
    /// training begins.
    ///
    /// # Errors
    /// A net of another family, by the width of the text that it attends to.
    pub fn of_unet(unet: &UNetConfig, tensors: &dyn Tensors) -> Result<Self> {
        let wrong = |why: String| Err(Error::Undetected { file: tensors.describe(""), why });
        let names = tensors.names();
        let shape = |name: &str| tensors.get(name).ok().map(|info| info.shape.clone());
        if shape(HINT_IN).is_none() {
            return wrong(format!("it has no tensor {HINT_IN}, through which a picture would come in"));
        }
        let width = names.iter().find(|name| name.ends_with(".attn2.to_k.weight"));
        let width = width.and_then(|name| shape(name)?.get(1).copied());
        let own = unet.states_width();
        if let Some(width) = width.filter(|width| *width != own) {
            return wrong(format!(
                "a control net for text {width} wide, and the model's is {own}: take one of the model's family"
            ));
        }
        let count =
            |part: &dyn Fn(usize) -> String| (0..).take_while(|i| tensors.contains(&part(*i))).count();
        let (mut unet, mut hint_channels) = (unet.clone(), Vec::new());
        unet.in_channels = unet.out_channels;
        for level in 0..unet.levels() {
            for (layer, depth) in unet.transformers[level].down.iter_mut().enumerate() {
                let block = format!("down_blocks.{level}.attentions.{layer}.transformer_blocks");
                *depth = count(&|k| format!("{block}.{k}.attn1.to_q.weight"));
            }
        }
        unet.mid_depth =
            count(&|k| format!("mid_block.attentions.0.transformer_blocks.{k}.attn1.to_q.weight"));
        hint_channels.extend(shape(HINT_IN).and_then(|shape| shape.first().copied()));
        for i in (1..).step_by(2) {
            let block = shape(&format!("controlnet_cond_embedding.blocks.{i}.weight"));
            let Some(channels) = block.and_then(|shape| shape.first().copied()) else { break };
            hint_channels.push(channels);
        }
        Ok(Self { unet, hint_channels })
    }
}

/// Fields that a UNet's file has not.
const OWN: [&str; 5] = [
    "_class_name",
    "conditioning_channels",
    "conditioning_embedding_out_channels",
    "controlnet_conditioning_channel_order",
    "global_pool_conditions",
];
