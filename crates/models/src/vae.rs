//! The autoencoder: latents to a picture, and a picture to latents (Kingma and Welling 2013, arXiv:1312.6114; Esser et al. 2021,
//! arXiv:2012.09841; diffusers: `AutoencoderKL`).

use crate::Result;
use crate::attention::scaled_dot_product;
use crate::blocks::{
    activate, add, channels, conv1x1, conv3x3, conv3x3_of, conv3x3_padded, downsample_below, group_norm,
    linear, size, upsample,
};
use crate::config::{Activation, VaeConfig};
use crate::resnet::Resnet;
use calotype_graph::{Elem, Graph, Rate, ValueId};

/// Channels of the picture: red, green, blue and one of zeros, which keeps pixels aligned.
pub(crate) const PIXEL: usize = 4;

/// A picture from latents of `height × width`, which have been divided by `scaling_factor` already.
///
/// Input `latents`, `[1, height, width, latent_channels]`; output `image`, `[1, f·height, f·width, 4]`, about -1 to 1,
/// where f is [`VaeConfig::factor`] and the fourth channel is zero.
pub fn decoder(config: &VaeConfig, height: usize, width: usize) -> Result<Graph> {
    let mut g = Graph::new("vae");
    let latents = g.input("latents", [1, height, width, config.latent_channels], Elem::Float, Rate::Prompt);
    let image = decode(&mut g, config, latents)?;
    g.output("image", image);
    Ok(g)
}

/// [`decoder`] inside a graph that does more: `[B, h, w, latent_channels]` to `[B, f·h, f·w, 4]`.
pub fn decode(g: &mut Graph, config: &VaeConfig, latents: ValueId) -> Result<ValueId> {
    let x = decode_middle(g, config, latents)?;
    g.scope("decoder", |g| forward(g, config, x))
}

/// The decoder's part at the latents' size, the attention that sees all of them in it: `[B, h, w, latent_channels]` to
/// `[B, h, w, C]`, where C is the channels of the last of `block_out_channels`.
pub fn decode_middle(g: &mut Graph, config: &VaeConfig, latents: ValueId) -> Result<ValueId> {
    let x = match config.use_post_quant_conv {
        true => conv1x1(g, "post_quant_conv", latents, config.latent_channels)?,
        false => latents,
    };
    g.scope("decoder", |g| {
        // 1. In.
        let x = conv3x3(g, "conv_in", x, config.block_out_channels[config.block_out_channels.len() - 1])?;

        // 2. Middle.
        g.scope("mid_block", |g| mid_block(g, config, &resnet(config), x))
    })
}

fn forward(g: &mut Graph, config: &VaeConfig, mut x: ValueId) -> Result<ValueId> {
    let (groups, eps) = (config.norm_num_groups, VaeConfig::NORM_EPS);
    let resnet = resnet(config);
    let levels = config.block_out_channels.len();

    // 3. Up.
    for (block, level) in (0..levels).rev().enumerate() {
        x = g.scope(&format!("up_blocks.{block}"), |g| up_block(g, config, &resnet, level, x))?;
    }

    // 4. Out. diffusers has SiLU written in here, whatever the configuration's activation.
    let x = group_norm(g, "conv_norm_out", x, groups, eps)?;
    let x = g.scope("conv_norm_out", |g| activate(g, x, Activation::Silu))?;
    conv3x3_padded(g, "conv_out", x, config.out_channels, PIXEL)
}

fn resnet(config: &VaeConfig) -> Resnet {
    let (groups, eps) = (config.norm_num_groups, VaeConfig::NORM_EPS);
    Resnet { groups, eps, activation: config.act_fn, time: None }
}

/// The moments of a picture's latents, of a size that [`VaeConfig::factor`] divides.
///
/// Input `image`, `[1, height, width, 4]`, -1 to 1, whose fourth channel is passed over; output `moments`,
/// `[1, height/f, width/f, 2 · latent_channels]`: the mean, then the logarithm of the variance, neither multiplied by
/// `scaling_factor` (diffusers: `DiagonalGaussianDistribution`).
pub fn encoder(config: &VaeConfig, height: usize, width: usize) -> Result<Graph> {
    let mut g = Graph::new("vae encoder");
    let image = g.input("image", [1, height, width, PIXEL], Elem::Float, Rate::Prompt);
    let moments = encode(&mut g, config, image)?;
    g.output("moments", moments);
    Ok(g)
}

/// [`encoder`] inside a graph that does more: `[B, H, W, 4]` to `[B, H/f, W/f, 2 · latent_channels]`.
pub fn encode(g: &mut Graph, config: &VaeConfig, image: ValueId) -> Result<ValueId> {
    let x = g.scope("encoder", |g| backward(g, config, image))?;
    match config.use_quant_conv {
        true => conv1x1(g, "quant_conv", x, 2 * config.latent_channels),
        false => Ok(x),
    }
}

fn backward(g: &mut Graph, config: &VaeConfig, x: ValueId) -> Result<ValueId> {
    let (groups, eps) = (config.norm_num_groups, VaeConfig::NORM_EPS);
    let resnet = resnet(config);

    // 1. In.
    let mut x = conv3x3_of(g, "conv_in", x, config.in_channels, config.block_out_channels[0])?;

    // 2. Down.
    for level in 0..config.block_out_channels.len() {
        x = g.scope(&format!("down_blocks.{level}"), |g| down_block(g, config, &resnet, level, x))?;
    }

    // 3. Middle.
    x = g.scope("mid_block", |g| mid_block(g, config, &resnet, x))?;

    // 4. Out.
    let x = group_norm(g, "conv_norm_out", x, groups, eps)?;
    let x = g.scope("conv_norm_out", |g| activate(g, x, Activation::Silu))?;
    conv3x3(g, "conv_out", x, 2 * config.latent_channels)
}

/// `[B, H, W, C]` to `[B, H/2, W/2, C']`, or to `[B, H, W, C']` at the latents' level.
fn down_block(
    g: &mut Graph,
    config: &VaeConfig,
    resnet: &Resnet,
    level: usize,
    mut x: ValueId,
) -> Result<ValueId> {
    let out = config.block_out_channels[level];
    for layer in 0..config.layers_per_block {
        x = g.scope(&format!("resnets.{layer}"), |g| resnet.block(g, x, out))?;
    }
    match level + 1 == config.block_out_channels.len() {
        true => Ok(x),
        false => downsample_below(g, "downsamplers.0.conv", x, out),
    }
}

/// `[B, H, W, C]` to the same.
fn mid_block(g: &mut Graph, config: &VaeConfig, resnet: &Resnet, x: ValueId) -> Result<ValueId> {
    let c = channels(g, x);
    let mut x = g.scope("resnets.0", |g| resnet.block(g, x, c))?;
    if config.mid_block_add_attention {
        x = g.scope("attentions.0", |g| self_attention(g, config, x))?;
    }
    g.scope("resnets.1", |g| resnet.block(g, x, c))
}

/// Every pixel attends to all, with one head as wide as there are channels.
fn self_attention(g: &mut Graph, config: &VaeConfig, x: ValueId) -> Result<ValueId> {
    let c = channels(g, x);
    let h = group_norm(g, "group_norm", x, config.norm_num_groups, VaeConfig::NORM_EPS)?;
    let q = linear(g, "to_q", h, c)?;
    let k = linear(g, "to_k", h, c)?;
    let v = linear(g, "to_v", h, c)?;
    let h = scaled_dot_product(g, [q, k, v], 1, false)?;
    let h = linear(g, "to_out.0", h, c)?;
    add(g, x, h)
}

/// `[B, H, W, C]` to `[B, 2H, 2W, C']`, or to `[B, H, W, C']` at the picture's level.
fn up_block(
    g: &mut Graph,
    config: &VaeConfig,
    resnet: &Resnet,
    level: usize,
    mut x: ValueId,
) -> Result<ValueId> {
    for layer in 0..=config.layers_per_block {
        let out = config.block_out_channels[level];
        x = g.scope(&format!("resnets.{layer}"), |g| resnet.block(g, x, out))?;
    }
    match level {
        0 => Ok(x),
        _ => upsample(g, "upsamplers.0.conv", x, size(g, x).map(|side| 2 * side)),
    }
}
