use super::{DeviceArgs, HubArgs, MemoryArgs};
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;

const SERVE_HELP: &str = "\
Examples:
  calotype serve -m sd15.safetensors --model-dir models --lora-dir loras
  CALOTYPE_KEY=… calotype serve --host 0.0.0.0 --allow-host studio.example

Answers /sdapi/v1 as AUTOMATIC1111's web UI does, and /v1/images/generations as OpenAI's API. On other addresses than this
machine's own a key is needed. Ctrl-C: what is being drawn is finished; a second time ends at once.";

#[derive(Clone, Debug, Args)]
#[command(after_long_help = SERVE_HELP)]
pub struct ServeArgs {
    /// The model that is open at first, as generate takes it [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    /// Where other models are, files and diffusers folders, that clients may ask for by name
    #[arg(long, value_name = "FOLDER")]
    pub model_dir: Option<PathBuf>,

    /// Where <lora:NAME:SCALE> in a prompt looks for NAME, with the folders in it
    #[arg(long, value_name = "FOLDER")]
    pub lora_dir: Option<PathBuf>,

    /// Where words with vectors of their own are, with the folders in it
    #[arg(long, value_name = "FOLDER")]
    pub embedding_dir: Option<PathBuf>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// The address to answer at: this machine's own, or with a key any other
    #[arg(help_heading = "Server", long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// The port; 0 takes any that is free
    #[arg(help_heading = "Server", long, value_name = "PORT", default_value_t = 7860)]
    pub port: u16,

    /// What clients must come with: a bearer's token, the password of Basic, or X-Api-Key. Better in the environment, where
    /// other users do not see it
    #[arg(help_heading = "Server", long, value_name = "KEY", env = "CALOTYPE_KEY", hide_env_values = true)]
    pub key: Option<String>,

    /// A name besides localhost by which browsers may call this server; may be repeated
    #[arg(help_heading = "Server", long, value_name = "NAME")]
    pub allow_host: Vec<String>,

    #[command(flatten)]
    pub device: DeviceArgs,

    #[command(flatten)]
    pub memory: MemoryArgs,
}
