//! What callers can set, by name. A library's error says which of them is at fault and which would help, and never how its
//! user writes them: that a shell says once, as it says a language ([`Field::spell_with`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

/// Something that a caller can set. It is shown in the library's own words, `cfg_scale`, or in those of the shell around it:
/// `--cfg-scale`, `cfgScale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Field {
    /// What to draw.
    Prompts,
    /// What to keep away from.
    NegativePrompts,
    /// Pixels.
    Width,
    /// Pixels.
    Height,
    /// Images made at once.
    BatchSize,
    /// Denoising steps.
    Steps,
    /// How far to follow the prompt.
    CfgScale,
    /// How far to rescale what guidance makes.
    CfgRescale,
    /// DDIM's noise.
    Eta,
    /// The sampler.
    Sampler,
    /// The noise schedule.
    Schedule,
    /// Whose rules sampler and noise schedule follow.
    Dialect,
    /// What multiplies noise on the way.
    SNoise,
    /// How far noise is turned up.
    SChurn,
    /// From which sigma on.
    STmin,
    /// Up to which sigma.
    STmax,
    /// Noise levels one by one.
    Sigmas,
    /// Timesteps one by one.
    Timesteps,
    /// How far the noise is turned to another seed's.
    VariationStrength,
    /// The size that the seed is drawn at.
    SeedResizeFrom,
    /// Noise to begin with, or latents to decode.
    Latents,
    /// How activations are stored.
    Precision,
    /// What to run on.
    Device,
    /// Which of the GPUs.
    Adapter,
    /// Which of a GPU's kernels.
    Tier,
    /// Where the model is.
    Place,
    /// What decodes, in the place of the model's own.
    Vae,
    /// What reads the prompt, in the place of the model's own.
    TextEncoder,
    /// What denoises, in the place of the model's own.
    Unet,
    /// What a file is.
    Config,
    /// What the model predicts.
    PredictionType,
    /// LoRAs.
    Loras,
    /// Which state of a model of the hub.
    Revision,
    /// Whether to ask the network for nothing.
    Offline,
    /// Whether files that exist may be replaced.
    Overwrite,
}

static SPELLING: OnceLock<fn(Field) -> Cow<'static, str>> = OnceLock::new();

impl Field {
    /// All of them.
    pub const ALL: [Self; 35] = [
        Self::Prompts,
        Self::NegativePrompts,
        Self::Width,
        Self::Height,
        Self::BatchSize,
        Self::Steps,
        Self::CfgScale,
        Self::CfgRescale,
        Self::Eta,
        Self::Sampler,
        Self::Schedule,
        Self::Dialect,
        Self::SNoise,
        Self::SChurn,
        Self::STmin,
        Self::STmax,
        Self::Sigmas,
        Self::Timesteps,
        Self::VariationStrength,
        Self::SeedResizeFrom,
        Self::Latents,
        Self::Precision,
        Self::Device,
        Self::Adapter,
        Self::Tier,
        Self::Place,
        Self::Vae,
        Self::TextEncoder,
        Self::Unet,
        Self::Config,
        Self::PredictionType,
        Self::Loras,
        Self::Revision,
        Self::Offline,
        Self::Overwrite,
    ];

    /// The library's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompts => "prompts",
            Self::NegativePrompts => "negative_prompts",
            Self::Width => "width",
            Self::Height => "height",
            Self::BatchSize => "batch_size",
            Self::Steps => "steps",
            Self::CfgScale => "cfg_scale",
            Self::CfgRescale => "cfg_rescale",
            Self::Eta => "eta",
            Self::Sampler => "sampler",
            Self::Schedule => "schedule",
            Self::Dialect => "sampler_dialect",
            Self::SNoise => "s_noise",
            Self::SChurn => "s_churn",
            Self::STmin => "s_tmin",
            Self::STmax => "s_tmax",
            Self::Sigmas => "sigmas",
            Self::Timesteps => "timesteps",
            Self::VariationStrength => "variation_strength",
            Self::SeedResizeFrom => "seed_resize_from",
            Self::Latents => "latents",
            Self::Precision => "precision",
            Self::Device => "device",
            Self::Adapter => "adapter",
            Self::Tier => "tier",
            Self::Place => "place",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::Unet => "unet",
            Self::Config => "config",
            Self::PredictionType => "prediction",
            Self::Loras => "lora",
            Self::Revision => "revision",
            Self::Offline => "offline",
            Self::Overwrite => "overwrite",
        }
    }

    /// Has the whole program show fields so from now on. For a program's main function: the first one counts.
    pub fn spell_with(spelling: fn(Self) -> Cow<'static, str>) {
        let _ = SPELLING.set(spelling);
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SPELLING.get() {
            Some(spelling) => f.pad(&spelling(*self)),
            None => f.pad(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_shown_as_the_program_spells_them() {
        let names: std::collections::BTreeSet<&str> = Field::ALL.iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), Field::ALL.len());
        assert_eq!(Field::CfgScale.to_string(), "cfg_scale");
        Field::spell_with(|field| format!("--{}", field.name().replace('_', "-")).into());
        assert_eq!(Field::CfgScale.to_string(), "--cfg-scale");
        // It is one program's, and settled.
        Field::spell_with(|field| field.name().into());
        assert_eq!(Field::CfgScale.to_string(), "--cfg-scale");
    }
}
