//! The command line, as clap reads it.

mod assembly;
mod bench;
mod check;
mod compat;
mod convert;
mod device;
mod elsewhere;
mod field;
mod format;
mod grid;
mod guidance;
mod init;
mod inspect;
mod memory;
mod preview;
mod sampler;
mod sdxl;
mod serve;
mod told;
mod values;
mod words;

pub use assembly::AssemblyArgs;
pub use bench::BenchArgs;
pub use check::CheckArgs;
pub use compat::{Autocast, CompatArgs, Img2imgArgs, KerasArgs, Program, ScriptArgs, Txt2imgArgs};
pub use convert::ConvertArgs;
pub use device::{BackendName, DeviceArgs, Dtype};
pub use field::flag;
pub use format::FormatArgs;
pub use grid::GridArgs;
pub use guidance::GuidanceArgs;
pub use init::InitArgs;
pub use inspect::InspectArgs;
pub use memory::MemoryArgs;
pub use preview::PreviewArgs;
pub use sampler::{NoiseArgs, SamplerArgs};
pub use sdxl::SdxlArgs;
pub use serve::ServeArgs;
pub use told::{generate, parse};
pub use values::{EmbeddingArg, LoraArg, Seed, sampler};
pub use words::WordArgs;

use calotype::{BatchSeeds, Request, Search};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use values::{batch_count, lora, number, seed};

/// Stable Diffusion on WebGPU: a prompt becomes a picture, on any GPU or without one.
#[derive(Debug, Parser)]
#[command(name = "calotype", bin_name = "calotype", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 the run failed or what it prints could not be written (pictures are drawn all the same), \
    2 the command line cannot be honoured, 130 Ctrl-C.\n\
    RUST_LOG=info (or debug) says more on stderr."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw pictures of a prompt
    Generate(Box<GenerateArgs>),
    /// Draw one sheet of labelled pictures: samplers by steps, prompts by seeds, whatever generate takes
    Grid(Box<GridArgs>),
    /// Say how much device memory a run takes, before anything runs; needs no GPU unless flags choose one
    Plan(Box<PlanArgs>),
    /// Measure how fast a device draws, with fixed presets; or compare two measurements
    Bench(Box<BenchArgs>),
    /// Hold a GPU and its driver against the CPU: op by op, stage by stage, a whole picture
    Check(CheckArgs),
    /// List the GPUs that can be used, with the features and limits that matter
    Adapters(AdaptersArgs),
    /// Say what a model holds, or what settings a picture carries
    Inspect(InspectArgs),
    /// Write a model as another file: a diffusers folder, one .safetensors, a .gguf
    Convert(Box<ConvertArgs>),
    /// The first programs, by their own names for things: CompVis' txt2img.py, KerasCV's text_to_image
    Compat(Box<CompatArgs>),
    /// Answer over HTTP: the image APIs of AUTOMATIC1111's web UI and of OpenAI
    Serve(Box<ServeArgs>),
}

const GENERATE_HELP: &str = "\
Examples:
  calotype generate \"a red apple\"
  calotype generate \"a horse on the moon\" -m stable-diffusion-v1-5/stable-diffusion-v1-5 -o horse.png
  calotype generate \"a cat, ink\" -m MODEL --lora ink.safetensors:0.8
  calotype generate --from-file prompts.txt -m MODEL -W 768 -H 512 -o 'out/%04d.png'
  calotype generate \"a cat\" -m MODEL --seed 7 --batch-count 4 --grid --json

--json prints one object a run (a batch) on stdout, and nothing else there:
  files         the pictures, in the order of the batch
  grid          the grid, in the last line of a --grid run, else null
  latents       the file of --save-latents, else null
  prompt, negative_prompt, model, sampler, scheduler, steps, cfg_scale, width, height
  refiner       what drew the last steps, as --refiner names it, else null
  few_steps     the LoRA of the model's few-steps form, where it drew in that, else null
  loras         the LoRAs that were added: [name, scale] each
  seed          the run's seed
  seeds         the seed of each picture
  device, dtype what it ran on, and how activations were stored
  timings       seconds: load, text, denoise, decode, write, total
  peak_bytes    the most device memory that was held since the start
  planned_bytes the plan's figure for it; on the CPU with what threads and files take besides";

#[derive(Clone, Debug, Args)]
#[command(after_long_help = GENERATE_HELP)]
pub struct GenerateArgs {
    /// What to draw
    #[arg(required_unless_present_any = ["from_file", "from_png"], conflicts_with = "from_file")]
    pub prompt: Option<String>,

    /// What to keep away from
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub negative_prompt: String,

    /// Draw each line of a file (- is standard input), the model loaded once; blank lines are skipped. Each line starts
    /// from the same seed
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,

    #[command(flatten)]
    pub words: WordArgs,

    #[command(flatten)]
    pub picture: PictureArgs,

    #[command(flatten)]
    pub device: DeviceArgs,

    #[command(flatten)]
    pub memory: MemoryArgs,

    /// Where noise begins [default: random, printed and written in the file]
    #[arg(help_heading = "Picture", long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<Seed>,

    #[command(flatten)]
    pub noise: NoiseArgs,

    #[command(flatten)]
    pub sdxl: SdxlArgs,

    /// Batches one after another; their seeds go on where the one before ended
    #[arg(help_heading = "Picture", long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = batch_count)]
    pub batch_count: u32,

    /// Whether picture i of a batch has its own noise generator with seed + i, or one serves the whole batch
    #[arg(help_heading = "Picture", long, value_name = "WHICH", default_value = "each")]
    pub batch_seeds: Seeds,

    /// Begin with noise from a safetensors file: tensor `latents`, f32 [B,C,H/f,W/f], not scaled (as diffusers'
    /// `latents=`); and `noise.0`, `noise.1`, … for samplers that add some. With --init-img there is no `latents`: `noise.0` is
    /// added to the picture, and `vae_noise.0` makes the encoder's sample. Gives the size where -W, -H, -b do not
    #[arg(help_heading = "Picture", long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["variation_seed", "seed_resize_from"])]
    pub latents: Option<PathBuf>,

    /// Keep the final latents, before the VAE, as tensor `latents` of a safetensors file
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub save_latents: Option<PathBuf>,

    /// The file; with %d or %05d the next free number. For more than one picture out.png becomes out_1.png, …; - is
    /// standard output, for one picture
    #[arg(help_heading = "Output", short, long, value_name = "FILE", default_value = format::OUTPUT)]
    pub output: PathBuf,

    #[command(flatten)]
    pub written: FormatArgs,

    #[command(flatten)]
    pub preview: PreviewArgs,

    /// Allow replacing files that exist, and writing into FIFOs and devices; numbered patterns replace nothing
    #[arg(help_heading = "Output", long)]
    pub overwrite: bool,

    /// Also write all pictures as one, to FILE with "grid" in its name
    #[arg(help_heading = "Output", long)]
    pub grid: bool,

    /// Leave the settings out of the pictures
    #[arg(help_heading = "Output", long)]
    pub no_metadata: bool,

    /// Print one machine-readable line a run on stdout (--help lists its fields)
    #[arg(help_heading = "Output", long)]
    pub json: bool,
}

/// What decides the work and the memory of a run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Picture")]
pub struct PictureArgs {
    /// A model: a file (.safetensors, .ckpt, .gguf, .h5), or a folder in the diffusers layout; or owner/name or
    /// owner/name/file on the Hugging Face hub, fetched once; or synthetic:NAME, sd15, sd21, sdxl, sdxl-refiner, ssd-1b or sd-turbo (the
    /// published architecture with random weights, for planning) [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub assembly: AssemblyArgs,

    /// Lay a LoRA of any kind, a safetensors file, times SCALE (1 if not given) over the model; may be repeated, each over
    /// what those before it have made
    #[arg(long, value_name = "FILE[:SCALE]", value_parser = lora)]
    pub lora: Vec<LoraArg>,

    /// A model that draws the last steps, SDXL's refiner: a file, a folder, owner/name, or synthetic:sdxl-refiner
    #[arg(long, value_name = "MODEL")]
    pub refiner: Option<String>,

    /// Draw with the model itself where it has a few-steps form. Many --steps, --cfg-scale above 1 and a negative prompt
    /// do so too
    #[arg(long)]
    pub no_few_steps: bool,

    /// Pixels, a multiple of the VAE's factor (8) [default: the model's own size]
    #[arg(short = 'W', long, value_name = "PIXELS")]
    pub width: Option<usize>,

    /// Pixels, a multiple of the VAE's factor (8) [default: the model's own size]
    #[arg(short = 'H', long, value_name = "PIXELS")]
    pub height: Option<usize>,

    /// Pictures at once [default: 1]
    #[arg(short, long, value_name = "N")]
    pub batch_size: Option<usize>,

    /// Denoising steps [default: the model's own, or 20]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,

    /// How far to follow the prompt; at 1 or below the negative prompt has no say and a step takes half the time
    /// [default: the model's own, or 7.5; 5 for SDXL]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub cfg_scale: Option<f32>,

    #[command(flatten)]
    pub guidance: GuidanceArgs,

    #[command(flatten)]
    pub sampler: SamplerArgs,

    #[command(flatten)]
    pub init: InitArgs,
}

/// How models of the hub are had. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count too.
#[derive(Clone, Debug, Args)]
pub struct HubArgs {
    /// The branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "NAME")]
    pub revision: Option<String>,

    /// Fetch nothing: take a model of the hub from the cache or not at all
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
#[command(
    after_long_help = "--json prints one object: peak_bytes, weight_bytes, activation_bytes, state_bytes, \
    stages (name, refiner, weight_bytes, activation_bytes, dispatches, flops), strategy (leaving: nothing, texts, loop or \
    each; tiles: count, size, or null; rows: how many at a time, or null; streams: stage, refiner, resident_bytes, slot_bytes, run_bytes, pieces), limit_bytes \
    (null where the memory is not known), fits (true, false, or null), adapter, adapter_memory, model, refiner, width, height, \
    batch_size, steps, sampler, guided, dtype."
)]
pub struct PlanArgs {
    #[command(flatten)]
    pub picture: PictureArgs,

    #[command(flatten)]
    pub device: DeviceArgs,

    #[command(flatten)]
    pub memory: MemoryArgs,

    /// Print one machine-readable object (--help lists its fields)
    #[arg(help_heading = "Output", long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AdaptersArgs {
    /// Print a machine-readable list
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Seeds {
    Each,
    One,
}

impl Seeds {
    pub fn policy(self) -> BatchSeeds {
        match self {
            Self::Each => BatchSeeds::Each,
            Self::One => BatchSeeds::One,
        }
    }
}

impl HubArgs {
    /// How a model is looked for; f32 weights are fetched only where `--dtype f32` asks for them.
    pub fn search(&self, dtype: Option<Dtype>) -> Search {
        Search {
            revision: self.revision.clone(),
            offline: self.offline,
            full_precision: dtype == Some(Dtype::F32),
        }
    }
}

impl PictureArgs {
    /// The request, without its words and its noise.
    pub fn request(&self, prompt: &str) -> Request {
        Request {
            width: self.width,
            height: self.height,
            batch_size: self.batch_size.unwrap_or(1),
            steps: self.steps,
            cfg_scale: self.cfg_scale,
            few_steps: self.no_few_steps.then_some(false),
            ..self.guidance.request(self.sampler.request(prompt))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
