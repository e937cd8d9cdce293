//! The flags of `calotype compat`: those of the programs that came first, spelt as they spell them.

use super::values::{number, seed};
use super::{DeviceArgs, HubArgs, Seed};
use calotype::Rng;
use calotype::compat::keras::Release;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct CompatArgs {
    #[command(subcommand)]
    pub program: Program,
}

#[derive(Debug, Subcommand)]
pub enum Program {
    /// CompVis' scripts/txt2img.py: its flags, its defaults, its names of files, its noise
    Txt2img(Box<Txt2imgArgs>),
    /// CompVis' scripts/img2img.py likewise
    Img2img(Box<Img2imgArgs>),
    /// KerasCV's StableDiffusion.text_to_image
    Keras(Box<KerasArgs>),
}

const TXT2IMG_HELP: &str = "\
calotype compat txt2img --prompt \"a photograph of an astronaut riding a horse\" --plms

Pictures go to samples/%05d.png in --outdir, numbered on from the files that are there, a grid of all of them to
grid-%04d.png; values are cut to 8 bits, not rounded, and an invisible watermark says StableDiffusionV1. No picture is looked
through by the script's safety checker, which is not here. A prompt longer than the text encoder takes is cut off.";

#[derive(Debug, Args)]
#[command(after_long_help = TXT2IMG_HELP)]
pub struct Txt2imgArgs {
    /// Dir to write results to [default: outputs/txt2img-samples, with --laion400m outputs/txt2img-samples-laion400m]
    #[arg(long, value_name = "DIR")]
    pub outdir: Option<PathBuf>,

    /// Use PLMS sampling
    #[arg(long)]
    pub plms: bool,

    /// Use DPM-Solver sampling, --plms or not
    #[arg(long = "dpm_solver")]
    pub dpm_solver: bool,

    /// Take that model's defaults of --ckpt and --outdir
    #[arg(long)]
    pub laion400m: bool,

    /// Use the same starting noise for all
    #[arg(long = "fixed_code")]
    pub fixed_code: bool,

    /// Sample so often
    #[arg(long = "n_iter", value_name = "N", default_value_t = 2)]
    pub n_iter: u32,

    /// Height in pixels
    #[arg(long = "H", value_name = "PIXELS", default_value_t = 512)]
    pub height: usize,

    /// Width in pixels
    #[arg(long = "W", value_name = "PIXELS", default_value_t = 512)]
    pub width: usize,

    /// Pictures at once
    #[arg(long = "n_samples", value_name = "N", default_value_t = 3)]
    pub n_samples: usize,

    /// How far to follow the prompt; 1.0 skips the unconditional pass
    #[arg(long, value_name = "X", default_value_t = 7.5, allow_negative_numbers = true, value_parser = number::<f32>)]
    pub scale: f32,

    /// The checkpoint [default: models/ldm/stable-diffusion-v1/model.ckpt, with --laion400m
    /// models/ldm/text2img-large/model.ckpt]
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub ckpt: Option<String>,

    /// Leave the invisible watermark out
    #[arg(long)]
    pub no_watermark: bool,

    #[command(flatten)]
    pub script: ScriptArgs,
}

const IMG2IMG_HELP: &str = "\
calotype compat img2img --prompt \"A fantasy landscape, trending on artstation\" --init-img sketch.jpg --strength 0.8

Pictures go to samples/%05d.png in --outdir, numbered on from the files that are there, a grid of all of them to
grid-%04d.png; values are cut to 8 bits, not rounded. The picture is made smaller to multiples of 32 pixels. Where the script
samples the latents that the encoder makes of it, their mean is taken.";

#[derive(Debug, Args)]
#[command(after_long_help = IMG2IMG_HELP)]
pub struct Img2imgArgs {
    /// The picture to begin from
    #[arg(long, value_name = "FILE")]
    pub init_img: PathBuf,

    /// Dir to write results to
    #[arg(long, value_name = "DIR", default_value = "outputs/img2img-samples")]
    pub outdir: PathBuf,

    /// How much of the picture is drawn anew, 0 to below 1
    #[arg(long, value_name = "X", default_value_t = 0.75, allow_negative_numbers = true, value_parser = number::<f64>)]
    pub strength: f64,

    /// Refused: the script has no PLMS that begins from a picture
    #[arg(long)]
    pub plms: bool,

    /// Taken and passed over, as by the script
    #[arg(long = "fixed_code")]
    pub fixed_code: bool,

    /// Sample so often
    #[arg(long = "n_iter", value_name = "N", default_value_t = 1)]
    pub n_iter: u32,

    /// Pictures at once
    #[arg(long = "n_samples", value_name = "N", default_value_t = 2)]
    pub n_samples: usize,

    /// How far to follow the prompt; 1.0 skips the unconditional pass
    #[arg(long, value_name = "X", default_value_t = 5.0, allow_negative_numbers = true, value_parser = number::<f32>)]
    pub scale: f32,

    /// The checkpoint
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "model",
        default_value = "models/ldm/stable-diffusion-v1/model.ckpt"
    )]
    pub ckpt: String,

    #[command(flatten)]
    pub script: ScriptArgs,
}

/// What both scripts take.
#[derive(Debug, Args)]
pub struct ScriptArgs {
    /// The prompt to render
    #[arg(long, value_name = "TEXT", default_value = "a painting of a virus monster playing guitar")]
    pub prompt: String,

    /// Do not save a grid
    #[arg(long = "skip_grid")]
    pub skip_grid: bool,

    /// Do not save single pictures
    #[arg(long = "skip_save")]
    pub skip_save: bool,

    /// Sampling steps; DDIM takes a few more where they do not divide 1000
    #[arg(long = "ddim_steps", value_name = "N", default_value_t = 50)]
    pub ddim_steps: usize,

    /// DDIM's eta; 0 is deterministic
    #[arg(long = "ddim_eta", value_name = "X", default_value_t = 0.0, value_parser = number::<f64>)]
    pub ddim_eta: f64,

    /// Latent channels, which must be the model's
    #[arg(long = "C", value_name = "N", default_value_t = 4)]
    pub channels: usize,

    /// Downsampling factor, which must be the model's
    #[arg(long = "f", value_name = "N", default_value_t = 8)]
    pub factor: usize,

    /// Pictures in a row of the grid; 0 for n_samples
    #[arg(long = "n_rows", value_name = "N", default_value_t = 0)]
    pub n_rows: usize,

    /// Draw the prompts of this file, a line each, n_samples of them at once
    #[arg(long = "from-file", value_name = "FILE")]
    pub from_file: Option<PathBuf>,

    /// Taken and passed over: a checkpoint's tensors say what it is
    #[arg(long, value_name = "FILE", default_value = "configs/stable-diffusion/v1-inference.yaml")]
    pub config: PathBuf,

    /// Any model that generate takes, in the checkpoint's place
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// The seed of all that is drawn
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// autocast stores numbers as the device likes them, full in f32; --dtype has the last word
    #[arg(long, value_name = "NAME", default_value = "autocast")]
    pub precision: Autocast,

    /// Whose random numbers: cuda (Philox, as the script drew them on a GPU), cpu (PyTorch's) or numpy
    #[arg(long, value_name = "NAME", default_value = "cuda", value_parser = str::parse::<Rng>)]
    pub rng: Rng,

    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Autocast {
    Full,
    Autocast,
}

const KERAS_HELP: &str = "\
calotype compat keras \"photograph of an astronaut riding a horse\" -m MODEL --batch-size 3

Sizes are rounded to multiples of 128, values of pictures cut to 8 bits, prompts of more than 77 tokens refused. Which
timesteps are visited and what a seed gives goes by --release: timesteps up to 0.8.0 as the older rule has them, and seeds as
the stateful op's up to 0.3, [seed, seed] up to 0.6.1, [seed, 0] from then on. KerasCV's networks have tanh in GEGLU and other
epsilons than the published ones: those are not here, and pictures differ by that much.";

#[derive(Debug, Args)]
#[command(after_long_help = KERAS_HELP)]
pub struct KerasArgs {
    /// The text of what to draw
    pub prompt: String,

    /// What to keep away from
    #[arg(short, long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,

    /// A model, as generate takes it [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// Pixels, rounded to a multiple of 128
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub img_width: usize,

    /// Pixels, rounded to a multiple of 128
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub img_height: usize,

    /// Pictures at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch_size: usize,

    /// Steps [default: 50; before release 0.4, 25]
    #[arg(long, value_name = "N")]
    pub num_steps: Option<usize>,

    /// How far to follow the prompt
    #[arg(long, value_name = "X", default_value_t = 7.5, allow_negative_numbers = true, value_parser = number::<f32>)]
    pub unconditional_guidance_scale: f32,

    /// The seed of the noise [default: random, printed]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<Seed>,

    /// KerasCV's release, 0.3 to 0.9
    #[arg(long, value_name = "RELEASE", default_value = "0.9", value_parser = str::parse::<Release>)]
    pub release: Release,

    /// Seeds as releases 0.6.2 to 0.8 gave them without keras-core: [0, seed]
    #[arg(long)]
    pub without_keras_core: bool,

    /// The file; with several pictures, a number goes in
    #[arg(short, long, value_name = "FILE", default_value = "keras.png")]
    pub output: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    pub overwrite: bool,

    #[command(flatten)]
    pub device: DeviceArgs,
}
