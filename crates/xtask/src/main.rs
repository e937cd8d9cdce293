//! The project's chores: `cargo run --release -p xtask -- CHORE`.

mod same;
mod serve;
#[cfg(feature = "engine")]
mod stages;
mod web;

use anyhow::{Result, bail};

const HELP: &str = "\
chores:
  stages MODEL GOLDENS [BACKEND]   a folder's UNet and VAE against diffusers' tensors, with time and memory
                                   (MODEL and GOLDENS as scripts/full_size.py makes them; BACKEND auto, vulkan, cpu)
  unet-speed MODEL GOLDENS [BACKEND] [RUNS]
                                   seconds of one UNet forward on 1x4x32x32 latents at f32, as JSON
  unet-ops MODEL GOLDENS [BACKEND] [RUNS]
                                   where its time goes, kernel by kernel
  web                              the page, ready for any static host, in web/dist; fails where it is over its budget
  serve [PORT]                     web/dist on localhost
  same OURS THEIRS [BACKEND]       two builds of the command, each with what runs it in words before it, draw the same on
                                   the CPU, and THEIRS on the BACKEND too";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        #[cfg(feature = "engine")]
        ["stages", model, goldens, ref rest @ ..] => {
            stages::check(model, goldens, rest.first().copied().unwrap_or("auto"))
        }
        #[cfg(feature = "engine")]
        ["unet-speed", model, goldens, ref rest @ ..] => {
            let runs = rest.get(1).map_or(Ok(5), |n| n.parse())?;
            stages::speed(model, goldens, rest.first().copied().unwrap_or("auto"), runs)
        }
        #[cfg(feature = "engine")]
        ["unet-ops", model, goldens, ref rest @ ..] => {
            let runs = rest.get(1).map_or(Ok(3), |n| n.parse())?;
            stages::ops(model, goldens, rest.first().copied().unwrap_or("auto"), runs)
        }
        #[cfg(not(feature = "engine"))]
        ["stages" | "unet-speed" | "unet-ops", ..] => {
            bail!("not in this build: it takes the feature `engine`")
        }
        ["web"] => web::build(),
        ["same", ours, theirs] => same::check(ours, theirs, None),
        ["same", ours, theirs, backend] => same::check(ours, theirs, Some(backend)),
        ["serve"] => serve::run(8080),
        ["serve", port] => serve::run(port.parse()?),
        _ => bail!("{HELP}"),
    }
}
