//! The flags that say what to run on.

use super::memory::size;
use calotype::{Precision, Quant, Tier};
use clap::{Args, ValueEnum};
use std::str::FromStr;

/// What to run on.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// How numbers are stored [default: f16 where the device computes with it, else f32]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Dtype>,

    /// Weight matrices in blocks on the device: q8_0 (a little over half of f16's memory), q4_0 (a little over a quarter) or
    /// none. Sums stay as exact as they are; the weights are rounded once [default: as a .gguf has them, else none]
    #[arg(long, value_name = "TYPE", value_parser = Quant::from_str)]
    pub quant: Option<Quant>,

    /// What drives the device; auto takes a GPU, or the CPU where there is none
    #[arg(long, value_name = "API", default_value = "auto")]
    pub backend: BackendName,

    /// The GPU, by its number in `calotype adapters` or a part of its name
    #[arg(long, value_name = "NAME|INDEX")]
    pub adapter: Option<String>,

    /// The GPU's kernels: each tier has more of the GPU than the one before, up to tensor cores (coop). auto takes those
    /// that pass a trial at the start (see `calotype adapters`); a tier that is asked for and fails is an error
    #[arg(long, value_name = "TIER", default_value = "auto")]
    pub tier: TierName,

    /// Take the kernels' shapes from the built-in table: neither try what is fastest on this GPU nor use what earlier runs
    /// found. Pictures are then the same to the bit from the first run on
    #[arg(long)]
    pub no_autotune: bool,

    /// Keep weights on disk as this GPU reads them, SIZE of them at most [16G where only the flag is given], those that were used
    /// last: another start uploads them, and packs none. They lie in the cache folder; what LoRAs change is not kept
    #[arg(long, value_name = "SIZE", value_parser = size, num_args = 0..=1, default_missing_value = "16G", require_equals = true)]
    pub cache_weights: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
}

impl Dtype {
    pub fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    Auto,
    Vulkan,
    Metal,
    Dx12,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TierName {
    Auto,
    Plain,
    F16,
    Subgroups,
    Coop,
}

impl TierName {
    /// None for auto.
    pub fn tier(self) -> Option<Tier> {
        match self {
            Self::Auto => None,
            Self::Plain => Some(Tier::Plain),
            Self::F16 => Some(Tier::F16),
            Self::Subgroups => Some(Tier::Subgroups),
            Self::Coop => Some(Tier::Coop),
        }
    }
}
