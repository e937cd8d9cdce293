//! KerasCV's `StableDiffusion.text_to_image`, as the library has it.

use super::open;
use crate::args::KerasArgs;
use crate::exit::Usage;
use crate::generate::draw;
use crate::output::Series;
use crate::progress::RunProgress;
use crate::text::Lines;
use calotype::compat::keras::{GRID, Generation, Rules, beyond, fill_up, rounded};
use calotype::{Model, Request, random_seed};

/// Draws what it would.
pub fn run(args: &KerasArgs) -> anyhow::Result<()> {
    let seed = args.seed.and_then(|seed| seed.0).unwrap_or_else(random_seed);
    let rules = Rules { release: args.release, without_keras_core: args.without_keras_core };
    let request = request(args, rules, seed)?;
    let count = request.batch_size as u64;
    let mut files = Series::one_or_stdout(&args.output, count, args.overwrite, "--output")?;
    let prepare = |model: &mut Model| read_as_keras(args, model);
    let model = (args.model.as_deref(), &args.hub);
    let mut pipeline = open(model, (&args.device, None), &request, &prepare)?;
    let mut order = pipeline.settle(&request)?;
    order.noise = Some(rules.noise(pipeline.model(), &order, seed));
    let output = draw(&mut pipeline, &order, RunProgress::new(String::new(), false))?;
    let mut lines = Lines::default();
    for picture in &output.pictures {
        let path = files.write(&picture.png(None)?)?;
        lines.print(format!("{}  seed {seed}", path.display()));
    }
    Ok(lines.end()?)
}

fn side(flag: &str, pixels: usize) -> Result<usize, Usage> {
    match rounded(pixels) {
        0 => Err(Usage(format!(
            "{flag} {pixels} is rounded to a multiple of {GRID}, which here is 0: use {GRID} or more"
        ))),
        side => Ok(side),
    }
}

fn request(args: &KerasArgs, rules: Rules, seed: u64) -> anyhow::Result<Request> {
    let asked = Generation {
        negative_prompt: args.negative_prompt.clone(),
        batch_size: args.batch_size,
        num_steps: args.num_steps,
        unconditional_guidance_scale: args.unconditional_guidance_scale,
        ..Generation::default()
    };
    let size = [side("--img-height", args.img_height)?, side("--img-width", args.img_width)?];
    let request = asked.request(rules, &args.prompt, size, seed);
    request.check()?;
    Ok(request)
}

/// Texts are filled up with the end token, whichever model it is, and none is cut off.
fn read_as_keras(args: &KerasArgs, model: &mut Model) -> anyhow::Result<()> {
    fill_up(model);
    let texts = [("the prompt", Some(&args.prompt)), ("--negative-prompt", args.negative_prompt.as_ref())];
    for (what, text) in texts {
        if let Some([len, most]) = beyond(model, text.map_or("", |text| text))? {
            let why = format!("{what} has {len} tokens, and KerasCV takes {most}: shorten it");
            return Err(Usage(why).into());
        }
    }
    Ok(())
}
