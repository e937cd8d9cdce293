use crate::exit::Usage;
use calotype::{Hints, Predicts, Role, Said};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// What a model is put together of, and what is said of it.
#[derive(Clone, Debug, Args)]
pub struct AssemblyArgs {
    /// A VAE in the place of the model's own: a file, or a folder
    #[arg(long, value_name = "MODEL")]
    pub vae: Option<String>,

    /// A tiny decoder (TAESD), which --decode taesd takes: its file, or a folder of diffusers' (AutoencoderTiny)
    #[arg(long, value_name = "PATH", requires = "decode")]
    pub taesd: Option<PathBuf>,

    /// What makes the picture of the latents: vae, or taesd, which is much faster and nearly the same [default: vae]
    #[arg(long, value_name = "NAME")]
    pub decode: Option<DecoderName>,

    /// A text encoder in the place of the model's own
    #[arg(long, value_name = "MODEL")]
    pub text_encoder: Option<String>,

    /// A second text encoder (SDXL's) in the place of the model's own
    #[arg(long, value_name = "MODEL")]
    pub text_encoder_2: Option<String>,

    /// A UNet in the place of the model's own
    #[arg(long, value_name = "MODEL")]
    pub unet: Option<String>,

    /// What a file is, where that is told wrong from its tensors: sd15, sd21, sd21-v, sdxl, sdxl-refiner
    #[arg(long, value_name = "NAME", value_parser = config)]
    pub config: Option<Said>,

    /// What the model predicts, where its file does not say: eps, v or sample
    #[arg(long, value_name = "WHAT", value_parser = prediction)]
    pub prediction: Option<Predicts>,

    /// The model was trained down to pure noise (zero terminal SNR), and its file does not say so
    #[arg(long)]
    pub zsnr: bool,
}

/// What decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecoderName {
    Vae,
    Taesd,
}

impl AssemblyArgs {
    /// The tiny decoder's place, where it is to decode.
    pub fn tiny(&self) -> Result<Option<&Path>, Usage> {
        match (self.decode, &self.taesd) {
            (Some(DecoderName::Taesd), None) => {
                Err(Usage("--decode taesd: say with --taesd where its file is".into()))
            }
            (Some(DecoderName::Taesd), Some(path)) => Ok(Some(path)),
            _ => Ok(None),
        }
    }

    /// The files that are read, each with its flag.
    pub fn inputs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.parts().map(|(role, name)| {
            let flag = match role {
                Role::Denoiser => "--unet",
                Role::Text => "--text-encoder",
                Role::Text2 => "--text-encoder-2",
                Role::Vae => "--vae",
            };
            (flag, Path::new(name))
        })
    }

    /// Each component that is given, with the name of its place.
    pub fn parts(&self) -> impl Iterator<Item = (Role, &str)> {
        let parts = [
            (Role::Denoiser, &self.unet),
            (Role::Text, &self.text_encoder),
            (Role::Text2, &self.text_encoder_2),
            (Role::Vae, &self.vae),
        ];
        parts.into_iter().filter_map(|(role, name)| Some((role, name.as_deref()?)))
    }

    /// What is said of the model.
    pub fn hints(&self) -> Hints {
        Hints { config: self.config, prediction: self.prediction, zero_snr: self.zsnr }
    }
}

fn config(text: &str) -> Result<Said, String> {
    let names = || Said::ALL.map(|said| said.name).join(", ");
    Said::from_name(text)
        .ok_or_else(|| format!("there is no configuration of that name: use one of {}", names()))
}

fn prediction(text: &str) -> Result<Predicts, String> {
    let found = Predicts::ALL.into_iter().find(|(name, one)| *name == text || one.name() == text);
    found.map(|(_, one)| one).ok_or_else(|| "use eps, v or sample".into())
}
