//! Nets that steer a UNet by a picture (ControlNet: Zhang et al. 2023, arXiv:2302.05543; diffusers: `ControlNetModel`).

use crate::Result;
use crate::blocks::{activate, conv1x1, conv3x3, conv3x3_of, downsample};
use crate::changes::Changes;
use crate::config::{Activation, ControlConfig};
use crate::unet::{Conditioning, Encoded, encode};
use calotype_graph::ops::StepRow;
use calotype_graph::{Elem, Graph, Rate, ValueId};

/// Channels of the picture.
const PICTURE: usize = 3;

/// What a net adds to a UNet: to each of what the way down leaves behind, and last to what the middle makes, `[S, h, w, C]` of
/// theirs. `latents`, `[S, h, w, C]`, and `table` are the UNet's own, and so is what it is told; `hint` is the picture,
/// `[S, H, W, 4]`, 0 to 1, whose fourth channel is passed over.
pub fn control(
    g: &mut Graph,
    config: &ControlConfig,
    (latents, hint): (ValueId, ValueId),
    table: ValueId,
    told: Conditioning<'_>,
) -> Result<Vec<ValueId>> {
    let hint = g.scope("controlnet_cond_embedding", |g| embedding(g, config, hint))?;
    let told = Conditioning { joined: None, guidance: None, control: &[], ..told };
    let Encoded { skips, middle, .. } =
        encode(g, &config.unet, (latents, Some(hint)), table, (told, Changes::default()))?;
    let mut all = Vec::new();
    for (i, skip) in skips.into_iter().enumerate() {
        let width = g.value(skip).shape.channels();
        all.push(conv1x1(g, &format!("controlnet_down_blocks.{i}"), skip, width)?);
    }
    let width = g.value(middle).shape.channels();
    all.push(conv1x1(g, "controlnet_mid_block", middle, width)?);
    Ok(all)
}

/// A net by itself, at a size that does not matter to its weights.
pub fn control_net(config: &ControlConfig) -> Result<Graph> {
    let mut g = Graph::new("control net");
    let [h, factor] = [8, 1 << (config.hint_channels.len() - 1)];
    let latents = g.input("latents", [1, h, h, config.unet.in_channels], Elem::Float, Rate::Step);
    let hint = g.input("hint", [1, h * factor, h * factor, 4], Elem::Float, Rate::Prompt);
    let table = g.input("table", [1, StepRow::WORDS], Elem::U32, Rate::Prompt);
    let states = g.input("states", [1, 77, config.unet.states_width()], Elem::Float, Rate::Prompt);
    let added =
        config.unet.text_time.map(|told| g.input("added", [1, told.width], Elem::Float, Rate::Prompt));
    let told = Conditioning { joined: None, states, added, guidance: None, control: &[] };
    let outputs = control(&mut g, config, (latents, hint), table, told)?;
    outputs.iter().enumerate().for_each(|(i, output)| g.output(&i.to_string(), *output));
    Ok(g)
}

/// The picture at the size of the latents: `[S, H, W, 4]` to `[S, h, w, C]` (`ControlNetConditioningEmbedding`).
fn embedding(g: &mut Graph, config: &ControlConfig, hint: ValueId) -> Result<ValueId> {
    let widths = &config.hint_channels;
    let x = conv3x3_of(g, "conv_in", hint, PICTURE, widths[0])?;
    let mut x = g.scope("conv_in", |g| activate(g, x, Activation::Silu))?;
    for (i, pair) in widths.windows(2).enumerate() {
        let [same, half] = [2 * i, 2 * i + 1].map(|n| format!("blocks.{n}"));
        x = conv3x3(g, &same, x, pair[0])?;
        x = g.scope(&same, |g| activate(g, x, Activation::Silu))?;
        x = downsample(g, &half, x, pair[1])?;
        x = g.scope(&half, |g| activate(g, x, Activation::Silu))?;
    }
    conv3x3(g, "conv_out", x, config.unet.block_out_channels[0])
}
