//! The flags of `calotype check`.

use super::{DeviceArgs, HubArgs};
use clap::Args;

const HELP: &str = "\
Every op case of the test kit, each stage of a model and a whole picture, by each tier of kernels, against the CPU executor
(plain code that the project's tests hold against PyTorch and diffusers). What departs is named, the first one first, with
by how much, the shape, and the driver. Exit code 1 where anything does.

--json prints one object: adapter, driver, backend, departs, tiers[] (tier, runs, note, held, refused, worst, departures[]);
worst and departures[] have name, shape, dtype, error and bound (of the largest magnitude), problem.";

#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct CheckArgs {
    /// The model whose stages and picture are compared [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub device: DeviceArgs,

    /// Ops alone, no model
    #[arg(long, conflicts_with = "model")]
    pub ops: bool,

    /// Print one machine-readable object (--help lists its fields)
    #[arg(long)]
    pub json: bool,
}
