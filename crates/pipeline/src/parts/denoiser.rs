use super::{Canvas, Stage};
use crate::control::ControlNet;
use crate::error::Result;
use calotype_graph::ops::{Activation, Affine, REGISTERS, SamplerStep, StepRow};
use calotype_graph::passes::{fuse, split, split_as};
use calotype_graph::{Elem, Graph, Rate, ValueId};
use calotype_models::Role;
use calotype_models::changes::{Changes, Deep};
use calotype_models::config::ModelConfig;
use calotype_models::control;
use calotype_models::unet::{self, Conditioning};

/// The denoiser in two: what follows from the prompt and the table of steps alone, and a step; and both once more for steps that
/// take again what deep layers yielded, where there are such.
pub fn denoiser(config: &ModelConfig, nets: &[ControlNet], canvas: Canvas) -> Result<Vec<(Stage, Graph)>> {
    let Some(layers) = canvas.layers else {
        let (context, step) = split(whole(config, nets, canvas, Deep::Fresh)?);
        return Ok(vec![(Stage::Context, context), (Stage::Step, step)]);
    };
    let (context, step) = split(whole(config, nets, canvas, Deep::Kept(layers))?);
    let (own, reusing) = split_as(whole(config, nets, canvas, Deep::Reused(layers))?, "kept_reusing");
    Ok(vec![
        (Stage::Context, context),
        (Stage::ReusingContext, own),
        (Stage::Step, step),
        (Stage::Reusing, reusing),
    ])
}

/// An evaluation, fused.
///
/// Inputs, for S the latents that the model sees (a batch for each prompt of an image, and one for guidance): `latents`,
/// `[S, h, w, C]`; `joined`, `[S, h, w, …]`, where the UNet is shown more than these;
/// `table`, `[rows, StepRow::WORDS]`; `states`, `[S, T, hidden]`; `added`, `[S, width]`, and `guidance`, `[1, width]`, where
/// the UNet is told more than the text; `registers`, `[REGISTERS, B, h·w·C]` f32, the first of which is the sample, and one
/// more where guidance remembers; `noise`, `[noises, B·h·w·C]` f32, what is kept of a picture behind the sampler's own;
/// `weights`, `[prompts, B]` f32; of the n-th net that steers it [`hint_port`], `[S, H, W, 4]`, 0 to 1, and of the k-th thing that
/// it adds [`terms_port`], `[S, 2, C]` f32: for each image how much of each channel counts, then zeros. A step leaves the next
/// one's `latents` and `registers` there.
fn whole(config: &ModelConfig, nets: &[ControlNet], canvas: Canvas, deep: Deep) -> Result<Graph> {
    let Canvas { batch, height, width, prompts, guided, guide, memory, bounded, rows, noises, .. } = canvas;
    let factor = config.vae.factor();
    let [h, w, channels] = [height / factor, width / factor, config.vae.latent_channels];
    let seen = batch * canvas.parts();
    let numel = h.saturating_mul(w).saturating_mul(channels);

    let mut g = Graph::new("unet");
    let latents = g.input("latents", [seen, h, w, channels], Elem::Float, Rate::Step);
    // A multiple of four, so that kernels take four at a time.
    let joined = match config.unet.joined_channels() {
        0 => None,
        own => Some(g.input("joined", [seen, h, w, own.next_multiple_of(4)], Elem::Float, Rate::Prompt)),
    };
    let table = g.input("table", [rows, StepRow::WORDS], Elem::U32, Rate::Prompt);
    let states = g.input("states", [seen, canvas.tokens, config.states_width()], Elem::Float, Rate::Prompt);
    let added =
        config.unet.text_time.map(|told| g.input("added", [seen, told.width], Elem::Float, Rate::Prompt));
    let guidance = config
        .unet
        .time_cond_proj_dim
        .map(|width| g.input("guidance", [1, width], Elem::Float, Rate::Prompt));
    let registers =
        g.input("registers", [REGISTERS + usize::from(memory), batch, numel], Elem::F32, Rate::Step);
    let noise = g.input("noise", [noises.max(1), batch.saturating_mul(numel)], Elem::F32, Rate::Step);
    let weights = g.input("weights", [prompts, batch], Elem::F32, Rate::Prompt);
    let changes = Changes { free_u: canvas.free_u, weakened: canvas.weakened, deep };
    let told = Conditioning { joined, states, added, guidance, control: &[] };
    let mut control = Vec::new();
    for (i, net) in nets.iter().enumerate().filter(|(i, _)| canvas.has_net(*i)) {
        let hint = g.input(&hint_port(i), [seen, height, width, 4], Elem::Float, Rate::Prompt);
        control.push(g.within(Role::Denoiser.folder(), |g| {
            g.scope(&format!("control.{i}"), |g| steering(g, (i, net), (latents, hint), table, told))
        })?);
    }
    let told = Conditioning { control: &control, ..told };
    let output = g.within(Role::Denoiser.folder(), |g| {
        unet::forward(g, &config.unet, (latents, table), told, changes)
    })?;
    let input = latents;
    g.push(
        "sampler",
        SamplerStep { output, registers, input, noise, table, weights, guided, guide, bounded },
    )?;
    Ok(fuse(g))
}

/// What the i-th net is shown.
pub fn hint_port(i: usize) -> String {
    format!("control.{i}.hint")
}

/// How much counts of the k-th thing that it adds.
pub fn terms_port(i: usize, k: usize) -> String {
    format!("control.{i}.terms.{k}")
}

/// What a net adds to the UNet, as much of it as counts.
fn steering(
    g: &mut Graph,
    (i, net): (usize, &ControlNet),
    inputs: (ValueId, ValueId),
    table: ValueId,
    told: Conditioning<'_>,
) -> Result<Vec<ValueId>> {
    let mut all = control::control(g, &net.config, inputs, table, told)?;
    for (k, x) in all.iter_mut().enumerate() {
        let shape = g.value(*x).shape;
        let [seen, channels] = [shape.dims()[0], shape.channels()];
        let terms = g.input(&terms_port(i, k), [seen, 2, channels], Elem::F32, Rate::Prompt);
        *x = g.push(&format!("scaled.{k}"), Affine { x: *x, terms, activation: Activation::None })?;
    }
    Ok(all)
}
