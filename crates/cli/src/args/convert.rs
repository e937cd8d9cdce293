//! The flags of `calotype convert`.

use super::{AssemblyArgs, HubArgs, LoraArg, lora};
use calotype::{BLOCKS, DType, Encoding};
use clap::Args;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  calotype convert photo.ckpt photo.safetensors --dtype f16
  calotype convert photo.safetensors photo.gguf --quant q8_0
  calotype convert photo.safetensors photo
  calotype convert stable-diffusion-v1-5/stable-diffusion-v1-5 ink.safetensors --lora ink-lora.safetensors:0.8

Names in a single file are those of the model's original code. A .gguf's matrices may be in blocks; those whose rows are no
whole number of blocks (3x3 convolutions) stay as they are, like vectors and embeddings.";

#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct ConvertArgs {
    /// A model: a file of weights, a folder in the diffusers layout, or owner/name or owner/name/file on the Hugging Face hub
    #[arg(value_name = "IN")]
    pub model: String,

    /// What it is to be: NAME.safetensors, NAME.gguf, or else a folder in the diffusers layout
    #[arg(value_name = "OUT")]
    pub output: PathBuf,

    #[command(flatten)]
    pub hub: HubArgs,

    #[command(flatten)]
    pub assembly: AssemblyArgs,

    /// How numbers are stored: f32, f16 or bf16 [default: as they are]
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    pub dtype: Option<DType>,

    /// Blocks for a .gguf's matrices: q8_0, q5_1, q5_0, q4_1 or q4_0
    #[arg(long, value_name = "TYPE", value_parser = quant)]
    pub quant: Option<Encoding>,

    /// Merge a LoRA of any kind in, times SCALE (1 if not given); may be repeated
    #[arg(long, value_name = "FILE[:SCALE]", value_parser = lora)]
    pub lora: Vec<LoraArg>,

    /// Allow replacing a file that exists
    #[arg(long)]
    pub overwrite: bool,
}

fn dtype(text: &str) -> Result<DType, String> {
    let types = [DType::F32, DType::F16, DType::BF16];
    types.into_iter().find(|dtype| dtype.name() == text).ok_or_else(|| "use f32, f16 or bf16".into())
}

fn quant(text: &str) -> Result<Encoding, String> {
    let names = || BLOCKS.map(Encoding::name).join(", ");
    let found = BLOCKS.into_iter().find(|one| one.name() == text);
    found.ok_or_else(|| format!("no blocks of that name are made: use one of {}", names()))
}
