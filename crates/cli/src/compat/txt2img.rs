//! CompVis' scripts/txt2img.py.

use super::script::Script;
use crate::args::Txt2imgArgs;
use crate::exit::Usage;
use calotype::{Picture, Sampler};
use std::path::PathBuf;

/// Draws what the script would.
pub fn run(args: &Txt2imgArgs) -> anyhow::Result<()> {
    let (ckpt, outdir) = places(args);
    let script = Script {
        args: &args.script,
        ckpt,
        outdir: &outdir,
        n_iter: args.n_iter,
        n_samples: args.n_samples,
        fixed: args.fixed_code,
        marked: !args.no_watermark,
    };
    check_mark(args)?;
    let sampler = match (args.dpm_solver, args.plms) {
        (true, _) => Sampler::DPM_SOLVER,
        (_, true) => Sampler::PNDM,
        _ => Sampler::DDIM,
    };
    script.run(script.request([args.height, args.width], sampler, args.scale))
}

/// Where the checkpoint lies, and where pictures go.
fn places(args: &Txt2imgArgs) -> (&str, PathBuf) {
    let (ckpt, outdir) = match args.laion400m {
        true => ("models/ldm/text2img-large/model.ckpt", "outputs/txt2img-samples-laion400m"),
        false => ("models/ldm/stable-diffusion-v1/model.ckpt", "outputs/txt2img-samples"),
    };
    (args.ckpt.as_deref().unwrap_or(ckpt), args.outdir.clone().unwrap_or(outdir.into()))
}

/// Refuses pictures that are written and cannot be marked.
fn check_mark(args: &Txt2imgArgs) -> anyhow::Result<()> {
    let writes = !(args.script.skip_grid && args.script.skip_save);
    if !writes || args.no_watermark || Picture::takes_watermark(args.width, args.height) {
        return Ok(());
    }
    let why = format!(
        "--W {} and --H {} are too small for the invisible watermark, which takes 256x256 pixels: give --no-watermark",
        args.width, args.height
    );
    Err(Usage(why).into())
}
