//! What callers can set, by name. A library's error says which of them is at fault and which would help, and never how its
//! user writes them: that a shell says once, as it says a language ([`Field::spell_with`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)*) => {
        /// Something that a caller can set. It is shown in the library's own words, `cfg_scale`, or in those of the shell
        /// around it: `--cfg-scale`, `cfgScale`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Field {
            $($(#[$doc])* $field,)*
        }

        impl Field {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$field),*];

            /// The library's name for it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }
        }
    };
}

fields! {
    /// What to draw.
    Prompts = "prompts",
    /// What to keep away from.
    NegativePrompts = "negative_prompts",
    /// What the second text encoder reads instead.
    Prompts2 = "prompts_2",
    /// What it keeps away from instead.
    NegativePrompts2 = "negative_prompts_2",
    /// What the model is told of the size of what it learned from.
    OriginalSize = "original_size",
    /// What it is told was cut off at the left and at the top.
    Crop = "crop",
    /// What it is told of the picture's size.
    TargetSize = "target_size",
    /// By whose rules prompts are read.
    PromptStyle = "prompt_style",
    /// Which of the text encoder's layers is taken.
    ClipSkip = "clip_skip",
    /// Pixels.
    Width = "width",
    /// Pixels.
    Height = "height",
    /// Images made at once.
    BatchSize = "batch_size",
    /// Denoising steps.
    Steps = "steps",
    /// How far to follow the prompt.
    CfgScale = "cfg_scale",
    /// From which share of the steps on to guide.
    CfgStart = "cfg_start",
    /// Up to which share of the steps.
    CfgEnd = "cfg_end",
    /// What guidance makes of the model's outputs.
    Guidance = "guidance",
    /// How the UNet takes its skip connections.
    FreeU = "freeu",
    /// What of an evaluation later ones take again.
    Cache = "cache",
    /// Below which sigma every other evaluation is not guided.
    SMinUncond = "s_min_uncond",
    /// How far to rescale what guidance makes.
    CfgRescale = "cfg_rescale",
    /// DDIM's noise.
    Eta = "eta",
    /// The sampler.
    Sampler = "sampler",
    /// The noise schedule.
    Schedule = "schedule",
    /// Whose rules sampler and noise schedule follow.
    Dialect = "sampler_dialect",
    /// What multiplies noise on the way.
    SNoise = "s_noise",
    /// How far noise is turned up.
    SChurn = "s_churn",
    /// From which sigma on.
    STmin = "s_tmin",
    /// Up to which sigma.
    STmax = "s_tmax",
    /// Noise levels one by one.
    Sigmas = "sigmas",
    /// Timesteps one by one.
    Timesteps = "timesteps",
    /// How far the noise is turned to another seed's.
    VariationStrength = "variation_strength",
    /// The size that the seed is drawn at.
    SeedResizeFrom = "seed_resize_from",
    /// Noise to begin with, or latents to decode.
    Latents = "latents",
    /// The picture to begin from.
    InitImg = "init_img",
    /// How much of it is drawn anew.
    Strength = "strength",
    /// By whose rule steps are counted then.
    Img2imgSteps = "img2img_steps",
    /// How far to follow it, where the model is told it.
    ImageCfgScale = "image_cfg_scale",
    /// How it is made to fit.
    Resize = "resize",
    /// What of it is drawn anew.
    Mask = "mask",
    /// How far that is softened.
    MaskBlur = "mask_blur",
    /// Whether its greys count for latents too.
    SoftMask = "soft_mask",
    /// What stands in its place at the beginning.
    InpaintFill = "inpaint_fill",
    /// Which part of the picture is drawn.
    InpaintArea = "inpaint_area",
    /// How many pixels around what is drawn anew.
    InpaintPadding = "inpaint_padding",
    /// How many pixels it is given more.
    Outpaint = "outpaint",
    /// A net that steers by a picture.
    ControlNet = "control_net",
    /// That picture.
    ControlImage = "control_image",
    /// What is made of it first.
    ControlHint = "control_hint",
    /// How much it steers.
    ControlScale = "control_scale",
    /// From which share of the steps on.
    ControlStart = "control_start",
    /// Up to which share of the steps.
    ControlEnd = "control_end",
    /// Where more, and where less.
    ControlMode = "control_mode",
    /// How activations are stored.
    Precision = "precision",
    /// What to run on.
    Device = "device",
    /// Which of the GPUs.
    Adapter = "adapter",
    /// Which of a GPU's kernels.
    Tier = "tier",
    /// The most device memory that may be held.
    MaxVram = "max_vram",
    /// Whether pictures are decoded in tiles.
    VaeTiling = "vae_tiling",
    /// Where the model is.
    Place = "place",
    /// What decodes, in the place of the model's own.
    Vae = "vae",
    /// What reads the prompt, in the place of the model's own.
    TextEncoder = "text_encoder",
    /// The same for the second text encoder.
    TextEncoder2 = "text_encoder_2",
    /// What denoises, in the place of the model's own.
    Unet = "unet",
    /// What a file is.
    Config = "config",
    /// What the model predicts.
    PredictionType = "prediction",
    /// Whether the model was trained down to pure noise.
    ZeroSnr = "zsnr",
    /// What goes on with what the model has begun.
    Refiner = "refiner",
    /// From which share of the noise's way on.
    RefinerSwitch = "refiner_switch",
    /// How much a refiner is told that the picture is liked.
    AestheticScore = "aesthetic_score",
    /// The same of what to keep away from.
    NegativeAestheticScore = "negative_aesthetic_score",
    /// LoRAs.
    Loras = "lora",
    /// A tiny decoder.
    Taesd = "taesd",
    /// Words with vectors of their own.
    Embeddings = "embedding",
    /// Which state of a model of the hub.
    Revision = "revision",
    /// Whether to ask the network for nothing.
    Offline = "offline",
    /// Whether files that exist may be replaced.
    Overwrite = "overwrite",
}

static SPELLING: OnceLock<fn(Field) -> Cow<'static, str>> = OnceLock::new();

impl Field {
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
