use super::HubArgs;
use calotype::words::{Emphasis, PromptStyle};
use clap::Args;

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model folder in the diffusers layout, a file of weights (safetensors, PyTorch, GGUF, HDF5), a picture (PNG, JPEG,
    /// WebP) whose settings are told, owner/name on the Hugging Face hub, or synthetic:NAME (sd15, sd21, sdxl,
    /// sdxl-refiner, ssd-1b, sd-turbo) [default: the built-in model]
    pub model: Option<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// Say how a prompt is read for the model: its parts, turns, chunks and tokens
    #[arg(long, value_name = "TEXT", conflicts_with = "hashes")]
    pub prompt: Option<String>,

    /// By whose rules: a1111, comfy or plain [default: a1111]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<PromptStyle>, requires = "prompt")]
    pub prompt_style: Option<PromptStyle>,

    /// What a1111 does with weights: original, no_norm, ignore or none [default: original]
    #[arg(long, value_name = "MODE", value_parser = str::parse::<Emphasis>, requires = "prompt")]
    pub emphasis: Option<Emphasis>,

    /// Evaluations, for prompts that change on the way
    #[arg(long, value_name = "N", default_value_t = 20, requires = "prompt")]
    pub steps: usize,

    /// The hashes by which sites know a file: SHA-256, AutoV1, AutoV2, AutoV3. All of it is read for them
    #[arg(long)]
    pub hashes: bool,

    /// Print one machine-readable object
    #[arg(long)]
    pub json: bool,
}
