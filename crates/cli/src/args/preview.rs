use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Pictures of a run under way.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct PreviewArgs {
    /// Write a rough picture of the run as it is, a pixel for each place of the latents, after each step: a PNG, replaced by the next
    #[arg(long, value_name = "FILE")]
    pub preview_file: Option<PathBuf>,

    /// After every so many steps [default: 1]
    #[arg(long, value_name = "N", requires = "preview_file")]
    pub preview_every: Option<NonZeroUsize>,
}
