//! The UNet that predicts noise or velocity (Ronneberger et al. 2015, arXiv:1505.04597; Rombach et al. 2022,
//! arXiv:2112.10752; diffusers: `UNet2DConditionModel`).

use crate::Result;
use crate::attention::Transformer2d;
use crate::blocks::{
    activate, add, channels, concat, conv3x3, conv3x3_of, downsample, group_norm, linear, linear_unbiased,
    size, upsample,
};
use crate::changes::{Changes, Deep, FreeURule};
use crate::config::{Activation, Block, TextTime, UNetConfig};
use crate::resnet::{Resnet, Time};
use calotype_graph::ops::{FreeConcat, Row, Shapes, StepRow, TimestepEmbedding};
use calotype_graph::{Elem, Graph, Rate, ValueId};

/// The longest period of the time embedding's sinusoids, in steps over 2π (diffusers: `get_timestep_embedding`).
const MAX_PERIOD: f64 = 10_000.0;

/// What [`Deep`] is called among inputs and outputs.
const DEEP: &str = "deep";

/// One prediction for `batch` latents (guidance's two halves are two) of `height × width`.
///
/// Inputs `latents`, `[batch, height, width, in_channels]`; `table`, `[steps, StepRow::WORDS]` u32, of which the
/// current row tells the time; `states`, `[batch, tokens, cross_attention_dim]`, what the prompt says; and where the UNet is
/// told more, `added`, `[batch, TextTime::width]` (see [`added`]), and `guidance`, `[1, time_cond_proj_dim]`. Output `output`, `[batch, height, width, out_channels]`.
pub fn unet(
    config: &UNetConfig,
    batch: usize,
    height: usize,
    width: usize,
    tokens: usize,
    steps: usize,
) -> Result<Graph> {
    let mut g = Graph::new("unet");
    let latents = g.input("latents", [batch, height, width, config.in_channels], Elem::Float, Rate::Step);
    let table = g.input("table", [steps, StepRow::WORDS], Elem::U32, Rate::Prompt);
    let told = Conditioning {
        joined: None,
        control: &[],
        states: g.input("states", [batch, tokens, config.states_width()], Elem::Float, Rate::Prompt),
        added: config
            .text_time
            .map(|TextTime { width, .. }| g.input("added", [batch, width], Elem::Float, Rate::Prompt)),
        guidance: config
            .time_cond_proj_dim
            .map(|width| g.input("guidance", [1, width], Elem::Float, Rate::Prompt)),
    };
    let output = forward(&mut g, config, (latents, table), told, Changes::default())?;
    g.output("output", output);
    Ok(g)
}

/// What a UNet is told of the picture.
#[derive(Clone, Copy)]
pub struct Conditioning<'a> {
    /// What is joined to the latents, `[B, H, W, C]`: of more channels than the UNet takes, the rest are passed over.
    pub joined: Option<ValueId>,
    /// What the prompt says, `[B, T, cross_attention_dim]`.
    pub states: ValueId,
    /// What joins the time, `[B, TextTime::width]`.
    pub added: Option<ValueId>,
    /// How far to follow the prompt, `[1, time_cond_proj_dim]` (see [`guidance`]).
    pub guidance: Option<ValueId>,
    /// What control nets add, each ([`control`](crate::control::control)): to what the way down leaves behind, one after another,
    /// and last to what the middle makes.
    pub control: &'a [Vec<ValueId>],
}

/// How far to follow the prompt, as UNets are told that were distilled with guidance (Meng et al. 2023, arXiv:2210.03142;
/// diffusers: `get_guidance_scale_embedding`, of the scale less 1, times 1000).
pub fn guidance(width: usize, scale: f32) -> Vec<f32> {
    let (half, number) = (width / 2, (scale - 1.0) * 1000.0);
    let step = (MAX_PERIOD as f32).ln() / (half as f32 - 1.0).max(1.0);
    let angles = || (0..half).map(|i| number * (i as f32 * -step).exp());
    angles().map(f32::sin).chain(angles().map(f32::cos)).collect()
}

/// What joins the time for one image: the prompt's vector, and each number as sinusoids (diffusers: `get_aug_embed`).
pub fn added(config: &UNetConfig, pooled: &[f32], numbers: &[f32]) -> Vec<f32> {
    let ids = config.text_time.map_or(0, |text_time| text_time.ids);
    let frequencies = frequencies(ids / 2, config.freq_shift);
    let mut all = pooled.to_vec();
    for number in numbers {
        let angles = || frequencies.iter().map(|frequency| number * frequency);
        let (sines, cosines) = (angles().map(f32::sin), angles().map(f32::cos));
        match config.flip_sin_to_cos {
            true => all.extend(cosines.chain(sines)),
            false => all.extend(sines.chain(cosines)),
        }
    }
    all
}

/// [`unet`] inside a graph that does more: `[B, H, W, in_channels]`, or less where something is joined, to `[B, H, W, out_channels]`.
pub fn forward(
    g: &mut Graph,
    config: &UNetConfig,
    (latents, table): (ValueId, ValueId),
    told: Conditioning<'_>,
    changes: Changes,
) -> Result<ValueId> {
    let (groups, eps) = (config.norm_num_groups, config.norm_eps);

    // 1. Down to the middle, leaving behind what the way up will need; and what control nets add to all of it.
    let input = told.joined.map_or(Ok(latents), |joined| concat(g, latents, joined))?;
    let Encoded { unet, mut skips, middle: mut x } =
        encode(g, config, (input, None), table, (told, changes))?;
    for (i, control) in told.control.iter().enumerate() {
        let Some((last, before)) = control.split_last() else { continue };
        g.scope(&format!("control.{i}"), |g| {
            for (skip, more) in skips.iter_mut().zip(before) {
                *skip = add(g, *skip, *more)?;
            }
            x = add(g, x, *last)?;
            Ok::<_, crate::Error>(())
        })?;
    }

    // 2. Up.
    let mut left = config.up_layers();
    for (block, level) in (0..config.levels()).rev().enumerate() {
        x =
            g.scope(&format!("up_blocks.{block}"), |g| unet.up_block(g, level, x, (&mut skips, &mut left)))?;
    }

    // 3. Out.
    let x = group_norm(g, "conv_norm_out", x, groups, eps)?;
    let x = g.scope("conv_norm_out", |g| activate(g, x, config.act_fn))?;
    conv3x3(g, "conv_out", x, config.out_channels)
}

/// What the half of a UNet leaves that a control net has too.
pub(crate) struct Encoded<'a> {
    unet: UNet<'a>,
    /// What the way down leaves behind.
    pub skips: Vec<ValueId>,
    /// What the middle makes.
    pub middle: ValueId,
}

/// Time, in, down and the middle; `hint` is added to what comes in.
pub(crate) fn encode<'a>(
    g: &mut Graph,
    config: &'a UNetConfig,
    (input, hint): (ValueId, Option<ValueId>),
    table: ValueId,
    (Conditioning { states, added, guidance, .. }, changes): (Conditioning<'_>, Changes),
) -> Result<Encoded<'a>> {
    let (groups, eps) = (config.norm_num_groups, config.norm_eps);
    let time = time(g, config, table, [added, guidance])?;
    let resnet = Resnet { groups, eps, activation: config.act_fn, time: Some(time) };
    let unet = UNet { config, resnet, states, changes };

    let mut x = conv3x3_of(g, "conv_in", input, config.in_channels, config.block_out_channels[0])?;
    if let Some(hint) = hint {
        x = add(g, x, hint)?;
    }
    let mut skips = vec![x];
    for level in 0..config.levels() {
        x = g.scope(&format!("down_blocks.{level}"), |g| unet.down_block(g, level, x, &mut skips))?;
    }
    let middle = match changes.deep {
        Deep::Reused(_) => x,
        _ => g.scope("mid_block", |g| unet.mid_block(g, x))?,
    };
    Ok(Encoded { unet, skips, middle })
}

/// The time with what joins it, and the activation with which every residual block begins to use them.
fn time(
    g: &mut Graph,
    config: &UNetConfig,
    table: ValueId,
    [added, guidance]: [Option<ValueId>; 2],
) -> Result<Time> {
    let steps = time_embedding(g, config, table, guidance)?;
    let Some(added) = added else {
        let embeddings = g.scope("time_embedding", |g| activate(g, steps, config.act_fn))?;
        return Ok(Time::Steps { embeddings, table });
    };
    // diffusers gives these layers no activation but their default.
    let added = two_layers(g, "add_embedding", added, config.time_embed_dim, Activation::Silu)?;
    let step = g.push("time", Row { x: steps, table })?;
    let sum = add(g, added, step)?;
    Ok(Time::Images(activate(g, sum, config.act_fn)?))
}

/// `[steps, time_embed_dim]`: each step's time as sinusoids (Vaswani et al. 2017, arXiv:1706.03762) through two layers.
fn time_embedding(
    g: &mut Graph,
    config: &UNetConfig,
    table: ValueId,
    guidance: Option<ValueId>,
) -> Result<ValueId> {
    let frequencies = frequencies(config.block_out_channels[0] / 2, config.freq_shift);
    let frequencies = g.constant("time_proj.frequencies", &frequencies);
    let sinusoids = TimestepEmbedding { table, frequencies, cosine_first: config.flip_sin_to_cos };
    let mut x = g.push("time_proj", sinusoids)?;
    if let Some(guidance) = guidance {
        let width = config.block_out_channels[0];
        let told = g.scope("time_embedding", |g| linear_unbiased(g, "cond_proj", guidance, width))?;
        x = add(g, x, told)?;
    }
    two_layers(g, "time_embedding", x, config.time_embed_dim, config.act_fn)
}

/// `[…, K]` to `[…, out]` (diffusers: `TimestepEmbedding`).
fn two_layers(g: &mut Graph, name: &str, x: ValueId, out: usize, activation: Activation) -> Result<ValueId> {
    g.scope(name, |g| {
        let x = linear(g, "linear_1", x, out)?;
        let x = activate(g, x, activation)?;
        linear(g, "linear_2", x, out)
    })
}

/// `MAX_PERIOD^(-i / (half - shift))`, rounded where PyTorch rounds: at t = 999 the angles feel the last digit.
fn frequencies(half: usize, shift: f32) -> Vec<f32> {
    let log = -MAX_PERIOD.ln() as f32;
    (0..half).map(|i| (log * i as f32 / (half as f32 - shift)).exp()).collect()
}

/// What every block of the UNet is given.
struct UNet<'a> {
    config: &'a UNetConfig,
    resnet: Resnet,
    states: ValueId,
    changes: Changes,
}

impl UNet<'_> {
    /// `[B, H, W, C]` to `[B, ⌈H/2⌉, ⌈W/2⌉, C']`, or to `[B, H, W, C']` at the last level.
    fn down_block(
        &self,
        g: &mut Graph,
        level: usize,
        mut x: ValueId,
        skips: &mut Vec<ValueId>,
    ) -> Result<ValueId> {
        let block = self.config.down_blocks[level];
        let most = if let Deep::Reused(layers) = self.changes.deep { layers } else { usize::MAX };
        for (layer, depth) in self.config.transformers[level].down.iter().enumerate() {
            if skips.len() >= most {
                return Ok(x);
            }
            x = self.layer(g, [level, layer], block.with(*depth), x)?;
            skips.push(x);
        }
        if level + 1 < self.config.levels() && skips.len() < most {
            x = downsample(g, "downsamplers.0.conv", x, self.config.block_out_channels[level])?;
            skips.push(x);
        }
        Ok(x)
    }

    /// `[B, H, W, C]` to the same.
    fn mid_block(&self, g: &mut Graph, x: ValueId) -> Result<ValueId> {
        let level = self.config.levels() - 1;
        match self.config.mid_block {
            None => Ok(x),
            Some(Block::Plain) => self.layer(g, [level, 0], None, x),
            Some(Block::CrossAttention) => {
                let x = self.residual(g, [level, 0], x)?;
                let mut transformer = self.transformer(level, self.config.mid_depth);
                transformer.weakened = self.changes.weakened;
                let x = g.scope("attentions.0", |g| transformer.forward(g, x))?;
                self.layer(g, [level, 1], None, x)
            }
        }
    }

    /// `[B, H, W, C]` to `[B, 2H, 2W, C']`, or to `[B, H, W, C']` at the first level.
    ///
    /// It ends at the size of the skip that comes next: where that is odd, twice the size would be one too many.
    fn up_block(
        &self,
        g: &mut Graph,
        level: usize,
        mut x: ValueId,
        (skips, left): (&mut Vec<ValueId>, &mut usize),
    ) -> Result<ValueId> {
        let index = self.config.levels() - 1 - level;
        let block = self.config.up_blocks[index];
        for (layer, depth) in self.config.transformers[level].up.iter().enumerate() {
            let own = std::mem::replace(left, *left - 1);
            match self.changes.deep {
                Deep::Reused(layers) if own > layers => continue,
                Deep::Reused(layers) if own == layers => x = self.reused(g, [level, layer], skips),
                Deep::Kept(layers) if own == layers => g.output(DEEP, x),
                _ => {}
            }
            let skip = skips.pop().expect("a level takes up what it and its downsampler left");
            x = g.scope(&format!("resnets.{layer}"), |g| self.taken_up(g, index, x, skip))?;
            x = self.layer(g, [level, layer], block.with(*depth), x)?;
        }
        match skips.last() {
            // Where skips are as many as layers were left none has run.
            Some(_) if matches!(self.changes.deep, Deep::Reused(layers) if *left >= layers) => Ok(x),
            Some(&next) => upsample(g, "upsamplers.0.conv", x, size(g, next)),
            None => Ok(x),
        }
    }

    /// What a layer of the way up was given at an earlier step, as large as its skip.
    fn reused(&self, g: &mut Graph, [level, layer]: [usize; 2], skips: &[ValueId]) -> ValueId {
        let skip = *skips.last().expect("there is a skip for each layer that is left");
        let before = if layer == 0 { (level + 1).min(self.config.levels() - 1) } else { level };
        let shape = g.shape(skip).with_channels(self.config.block_out_channels[before]);
        g.input(DEEP, shape, Elem::Float, Rate::Step)
    }

    /// A skip connection beside what came up to it.
    fn taken_up(&self, g: &mut Graph, block: usize, h: ValueId, skip: ValueId) -> Result<ValueId> {
        let first = self.config.block_out_channels[0];
        let free_u =
            self.changes.free_u.and_then(|own| Some((own, own.stage(block, channels(g, h), first)?)));
        let Some((free_u, stage)) = free_u else { return concat(g, h, skip) };
        let [height, width] = size(g, h);
        let waves = g.constant(&format!("waves.{height}x{width}"), &FreeConcat::waves([height, width]));
        let structured = free_u.rule == FreeURule::Structured;
        let (backbone, slow) = (free_u.backbone[stage], free_u.skip[stage]);
        Ok(g.push("free_u", FreeConcat { h, skip, waves, backbone, slow, structured })?)
    }

    /// A residual block and, where there is one, a transformer of so many blocks.
    fn layer(
        &self,
        g: &mut Graph,
        [level, layer]: [usize; 2],
        depth: Option<usize>,
        x: ValueId,
    ) -> Result<ValueId> {
        let x = self.residual(g, [level, layer], x)?;
        match depth {
            None => Ok(x),
            Some(depth) => {
                g.scope(&format!("attentions.{layer}"), |g| self.transformer(level, depth).forward(g, x))
            }
        }
    }

    fn residual(&self, g: &mut Graph, [level, layer]: [usize; 2], x: ValueId) -> Result<ValueId> {
        let out = self.config.block_out_channels[level];
        g.scope(&format!("resnets.{layer}"), |g| self.resnet.block(g, x, out))
    }

    fn transformer(&self, level: usize, layers: usize) -> Transformer2d {
        Transformer2d {
            heads: self.config.num_attention_heads[level],
            layers,
            groups: self.config.norm_num_groups,
            linear_projection: self.config.use_linear_projection,
            states: self.states,
            weakened: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_to_the_longest_period() {
        let all = frequencies(160, 0.0);
        assert_eq!((all.len(), all[0]), (160, 1.0));
        assert!((all[80] - 0.01).abs() < 1e-8, "{}", all[80]);
        // With a shift of one the last of them reaches it.
        let last = *frequencies(160, 1.0).last().unwrap();
        assert!((last - 1e-4).abs() < 1e-10, "{last}");
    }
}
