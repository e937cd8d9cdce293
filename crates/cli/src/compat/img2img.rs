//! CompVis' scripts/img2img.py.

use super::script::Script;
use crate::args::Img2imgArgs;
use crate::exit::Usage;
use anyhow::Context;
use calotype::{Picture, Request, Sampler};
use std::fs;
use std::sync::Arc;

/// What the script rounds sizes down to.
const MULTIPLE: usize = 32;

/// Draws what the script would.
pub fn run(args: &Img2imgArgs) -> anyhow::Result<()> {
    if args.plms {
        let why = "--plms: img2img.py has no PLMS that begins from a picture: leave it out";
        return Err(Usage(why.into()).into());
    }
    if !(0.0..1.0).contains(&args.strength) {
        let why = format!(
            "--strength {} is not from 0 to below 1: at 1 img2img.py looks past the last of its timesteps",
            args.strength
        );
        return Err(Usage(why).into());
    }
    let script = Script {
        args: &args.script,
        ckpt: &args.ckpt,
        outdir: &args.outdir,
        n_iter: args.n_iter,
        n_samples: args.n_samples,
        fixed: false,
        marked: false,
    };
    let name = args.init_img.display().to_string();
    let bytes = fs::read(&args.init_img).with_context(|| format!("--init-img {name}: cannot be read"))?;
    let picture = Picture::read(&name, &bytes)?;
    let size = [picture.height, picture.width].map(|side| side / MULTIPLE * MULTIPLE);
    if size.contains(&0) {
        let (width, height) = (picture.width, picture.height);
        let why = format!(
            "--init-img {name} is {width}x{height}: img2img.py takes {MULTIPLE} pixels a side or more"
        );
        return Err(Usage(why).into());
    }
    script.run(Request {
        init_img: Some(Arc::new(picture)),
        strength: Some(args.strength),
        ..script.request(size, Sampler::DDIM, args.scale)
    })
}
