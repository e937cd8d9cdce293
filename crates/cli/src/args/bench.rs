//! The flags of `calotype bench`.

use super::{DeviceArgs, HubArgs, MemoryArgs, sampler};
use calotype::Sampler;
use calotype_bench::{PRESETS, Preset, listing};
use clap::Args;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  calotype bench                               the fixed presets on the best GPU
  calotype bench sd15-512 --ops --trace t.json where the time goes, op by op
  calotype bench --json before.json
  calotype bench --compare before.json after.json
  calotype bench -m MODEL -W 768 -H 768 --steps 30
  calotype bench builtin --sweep --sizes 64,128,256 --plot cost.svg

Weights of synthetic: models are made on the host as they are loaded, 64 MiB at a time, always the same; nothing is
downloaded. docs/benchmarks.md says how to read what is printed, and what the JSON holds.";

#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct BenchArgs {
    #[arg(value_name = "PRESET", value_parser = preset, help = presets_help(), conflicts_with = "compare")]
    pub presets: Vec<&'static Preset>,

    /// Another model than the preset's, or with no preset just this: a file of weights, a folder in the diffusers layout, or synthetic:…
    #[arg(help_heading = "Settings", short, long, value_name = "MODEL", conflicts_with = "compare")]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// Pixels [default: the preset's]
    #[arg(help_heading = "Settings", short = 'W', long, value_name = "PIXELS")]
    pub width: Option<usize>,

    /// Pixels [default: the preset's]
    #[arg(help_heading = "Settings", short = 'H', long, value_name = "PIXELS")]
    pub height: Option<usize>,

    /// Pictures at once [default: the preset's]
    #[arg(help_heading = "Settings", short, long, value_name = "N")]
    pub batch_size: Option<usize>,

    /// Denoising steps [default: the preset's]
    #[arg(help_heading = "Settings", long, value_name = "N")]
    pub steps: Option<usize>,

    /// Guidance; at 1 or below a step takes half the time
    #[arg(
        help_heading = "Settings",
        long,
        value_name = "X",
        default_value_t = 7.5,
        allow_negative_numbers = true
    )]
    pub cfg_scale: f32,

    /// The sampler, by `generate`'s name for it [default: the preset's]
    #[arg(help_heading = "Settings", long, value_name = "NAME", value_parser = sampler)]
    pub sampler: Option<Sampler>,

    /// Where noise begins
    #[arg(help_heading = "Settings", long, value_name = "N", default_value_t = 42)]
    pub seed: u64,

    /// How often a warm run is repeated
    #[arg(help_heading = "Settings", long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,

    #[command(flatten)]
    pub device: DeviceArgs,

    #[command(flatten)]
    pub memory: MemoryArgs,

    /// Time every launch, and list each distinct op with its share of the device's best
    #[arg(help_heading = "What is measured", long)]
    pub ops: bool,

    /// Write the launches of one run of each stage to FILE, for ui.perfetto.dev or chrome://tracing
    #[arg(help_heading = "What is measured", long, value_name = "FILE", conflicts_with_all = ["compare", "sweep"])]
    pub trace: Option<PathBuf>,

    /// Time steps only, at several sizes and batches: how cost grows as work grows
    #[arg(help_heading = "What is measured", long, conflicts_with_all = ["compare", "ops"])]
    pub sweep: bool,

    /// Sides of the sweep's square pictures, in pixels
    #[arg(
        help_heading = "What is measured",
        long,
        value_name = "PIXELS,…",
        value_delimiter = ',',
        requires = "sweep"
    )]
    #[arg(default_value = "256,384,512,640,768,896,1024")]
    pub sizes: Vec<usize>,

    /// Batches of the sweep, at its smallest side
    #[arg(
        help_heading = "What is measured",
        long,
        value_name = "N,…",
        value_delimiter = ',',
        requires = "sweep"
    )]
    #[arg(default_value = "1,2,4,8")]
    pub batches: Vec<usize>,

    /// Seconds a step of the sweep may take: larger sizes are left out, and said to be
    #[arg(
        help_heading = "What is measured",
        long,
        value_name = "SECONDS",
        requires = "sweep",
        default_value_t = 60.0,
        value_parser = seconds
    )]
    pub most: f64,

    /// Write the record as JSON to FILE, or - for stdout, which then holds nothing else
    #[arg(help_heading = "Output", long, value_name = "FILE", conflicts_with = "compare")]
    pub json: Option<PathBuf>,

    /// Print tables as Markdown
    #[arg(help_heading = "Output", long)]
    pub markdown: bool,

    /// Draw the sweep's plot to FILE as SVG
    #[arg(help_heading = "Output", long, value_name = "FILE.svg", requires = "sweep")]
    pub plot: Option<PathBuf>,

    /// Replace files that exist
    #[arg(help_heading = "Output", long)]
    pub overwrite: bool,

    /// Measure one preset and print its record alone: how several are kept apart
    #[arg(long, hide = true)]
    pub child: bool,

    /// Compare two records: ratios, and what lies within noise
    #[arg(help_heading = "Output", long, num_args = 2, value_names = ["BEFORE.json", "AFTER.json"])]
    pub compare: Option<Vec<PathBuf>>,
}

fn preset(name: &str) -> Result<&'static Preset, String> {
    let names = || PRESETS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    Preset::find(name).ok_or_else(|| format!("there is none of that name; there are {}", names()))
}

fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || "use a number of seconds, such as 60".to_string();
    text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0).ok_or_else(wrong)
}

fn presets_help() -> String {
    format!(
        "What to run, several one after another, each in a process of its own [default: the first three, or builtin \
         where there is no GPU]:\n{}",
        listing()
    )
}
