//! KerasCV's `StableDiffusion.text_to_image` (keras_cv/src/models/stable_diffusion/stable_diffusion.py).

use super::open;
use crate::args::{KerasArgs, Release};
use crate::exit::Usage;
use crate::generate::draw;
use crate::output::Series;
use crate::progress::RunProgress;
use crate::text::Lines;
use calotype::noise::{TensorFlow, nhwc_to_nchw};
use calotype::{
    BatchSeeds, Dialect, GivenNoise, HostTensor, Model, PromptStyle, Request, Sampler, random_seed,
};

/// Sizes are multiples of this.
const GRID: usize = 128;

/// Draws what it would.
pub fn run(args: &KerasArgs) -> anyhow::Result<()> {
    let seed = args.seed.and_then(|seed| seed.0).unwrap_or_else(random_seed);
    let request = request(args, seed)?;
    let count = request.batch_size as u64;
    let mut files = Series::one_or_stdout(&args.output, count, args.overwrite, "--output")?;
    let prepare = |model: &mut Model| read_as_keras(args, model);
    let model = (args.model.as_deref(), &args.hub);
    let mut pipeline = open(model, (&args.device, None), &request, &prepare)?;
    let mut order = pipeline.settle(&request)?;
    let vae = &pipeline.model().config.vae;
    let [c, f] = [vae.latent_channels, vae.factor()];
    let [h, w] = [order.height / f, order.width / f];
    let mut values = vec![0.0; order.batch_size * h * w * c];
    generator(args, seed).randn(&mut values);
    let latents = HostTensor::from_f32([order.batch_size, c, h, w], &nhwc_to_nchw(&values, [c, h, w]));
    order.noise = Some(GivenNoise { latents, added: Vec::new() });
    let output = draw(&mut pipeline, &order, RunProgress::new(String::new(), false))?;
    let mut lines = Lines::default();
    for picture in &output.pictures {
        let path = files.write(&picture.png(None)?)?;
        lines.print(format!("{}  seed {seed}", path.display()));
    }
    Ok(lines.end()?)
}

/// The nearest multiple, the even one of two.
fn rounded(flag: &str, pixels: usize) -> Result<usize, Usage> {
    match (pixels as f64 / GRID as f64).round_ties_even() as usize * GRID {
        0 => Err(Usage(format!(
            "{flag} {pixels} is rounded to a multiple of {GRID}, which here is 0: use {GRID} or more"
        ))),
        side => Ok(side),
    }
}

fn request(args: &KerasArgs, seed: u64) -> anyhow::Result<Request> {
    let steps = if args.release < Release([0, 4, 0]) { 25 } else { 50 };
    let request = Request {
        negative_prompts: vec![args.negative_prompt.clone().unwrap_or_default()],
        width: Some(rounded("--img-width", args.img_width)?),
        height: Some(rounded("--img-height", args.img_height)?),
        steps: Some(args.num_steps.unwrap_or(steps)),
        cfg_scale: Some(args.unconditional_guidance_scale),
        few_steps: Some(false),
        prompt_style: PromptStyle::Plain,
        batch_size: args.batch_size,
        batch_seeds: BatchSeeds::One,
        seed,
        sampler: Some(Sampler::DDIM),
        sampler_dialect: Some(if args.release < Release([0, 8, 2]) {
            Dialect::Keras03
        } else {
            Dialect::Keras
        }),
        ..Request::new(args.prompt.clone())
    };
    request.check()?;
    Ok(request)
}

/// What a seed gives in a release.
fn generator(args: &KerasArgs, seed: u64) -> TensorFlow {
    match args.release {
        release if release < Release([0, 4, 0]) => TensorFlow::stateful(seed),
        release if release < Release([0, 6, 2]) => TensorFlow::stateless([seed, seed]),
        _ if args.without_keras_core => TensorFlow::stateless([0, seed]),
        _ => TensorFlow::stateless([seed, 0]),
    }
}

/// Texts are filled up with the end token, whichever model it is, and none is cut off.
fn read_as_keras(args: &KerasArgs, model: &mut Model) -> anyhow::Result<()> {
    model.tokenizers.values_mut().for_each(calotype::tokenizer::Tokenizer::pad_with_end);
    let texts = [("the prompt", Some(&args.prompt)), ("--negative-prompt", args.negative_prompt.as_ref())];
    for (what, text) in texts {
        for tokenizer in model.tokenizers.values() {
            // With start and end.
            let words = tokenizer.ids(text.map_or("", |text| text))?.len();
            let (len, most) = (words + 2, tokenizer.max_len());
            if len > most {
                return Err(
                    Usage(format!("{what} has {len} tokens, and KerasCV takes {most}: shorten it")).into()
                );
            }
        }
    }
    Ok(())
}
