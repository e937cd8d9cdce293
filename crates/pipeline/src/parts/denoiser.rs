use super::Canvas;
use crate::error::Result;
use calotype_graph::ops::{REGISTERS, SamplerStep, StepRow};
use calotype_graph::passes::{fuse, split};
use calotype_graph::{Elem, Graph, Rate};
use calotype_models::Role;
use calotype_models::config::ModelConfig;
use calotype_models::unet::{self, Conditioning};

/// The denoiser in two: what follows from the prompt and the table of steps alone, and a step.
///
/// Inputs, for S the latents that the model sees (a batch for each prompt of an image, and one for guidance): `latents`,
/// `[S, h, w, C]`; `joined`, `[S, h, w, …]`, where the UNet is shown more than these;
/// `table`, `[rows, StepRow::WORDS]`; `states`, `[S, T, hidden]`; `added`, `[S, width]`, and `guidance`, `[1, width]`, where
/// the UNet is told more than the text; `registers`, `[REGISTERS, B, h·w·C]` f32, the first of which is the sample, and one
/// more where guidance remembers; `noise`, `[noises, B·h·w·C]` f32, what is kept of a picture behind the sampler's own;
/// `weights`, `[prompts, B]` f32. A step leaves the next one's `latents` and `registers` there.
pub fn denoiser(config: &ModelConfig, canvas: Canvas) -> Result<(Graph, Graph)> {
    let Canvas { batch, height, width, prompts, guided, guide, memory, bounded, rows, noises, tokens } =
        canvas;
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
    let states = g.input("states", [seen, tokens, config.states_width()], Elem::Float, Rate::Prompt);
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
    let output = g.within(Role::Denoiser.folder(), |g| {
        unet::forward(g, &config.unet, latents, table, Conditioning { joined, states, added, guidance })
    })?;
    let input = latents;
    g.push(
        "sampler",
        SamplerStep { output, registers, input, noise, table, weights, guided, guide, bounded },
    )?;
    Ok(split(fuse(g)))
}
