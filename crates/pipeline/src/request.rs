use crate::cache::Cache;
use crate::control::Control;
use crate::guidance::Guidance;
use crate::image::{Mask, Picture, Resize};
use crate::init::StepRule;
use crate::inpaint::{InpaintArea, InpaintFill};
use crate::words::{Emphasis, PromptStyle};
use calotype_field::Field;
use calotype_models::changes::FreeU;
use calotype_sampling::noise::{BatchSeeds, Rng, Variation};
use calotype_sampling::{Dialect, Sampler, Schedule};
use calotype_tensor::HostTensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What to draw, as it is wished for: what is left open the model settles ([`Request::settle`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// One for all images of the batch, or one for each.
    pub prompts: Vec<String>,
    /// What to keep away from: one for all images, or one for each.
    pub negative_prompts: Vec<String>,
    /// What the second text encoder of SDXL reads instead, one for all images or one for each; the same where there is none.
    pub prompts_2: Vec<String>,
    /// What it keeps away from instead.
    pub negative_prompts_2: Vec<String>,
    /// By whose rules prompts are read.
    pub prompt_style: PromptStyle,
    /// What A1111's rules do with weights.
    pub emphasis: Emphasis,
    /// Which of the text encoder's layers is taken, counted from the last as A1111 does: 2 is the one before. The model's own
    /// where there is none.
    pub clip_skip: Option<usize>,
    /// Width and height in pixels that SDXL is told its example had; the picture's where there are none.
    pub original_size: Option<[usize; 2]>,
    /// Pixels that SDXL is told were cut off at the left and at the top of it; none where nothing is said.
    pub crop: Option<[usize; 2]>,
    /// Width and height in pixels that SDXL is told the picture has; its own where there are none.
    pub target_size: Option<[usize; 2]>,
    /// Pixels; the model's own size where there is none.
    pub width: Option<usize>,
    /// Pixels; the model's own size where there is none.
    pub height: Option<usize>,
    /// Denoising steps; the model's own number where there is none.
    pub steps: Option<usize>,
    /// How far to follow the prompt (classifier-free guidance: Ho and Salimans 2022, arXiv:2207.12598). At 1 or below
    /// the unconditional pass is skipped. The model's own where there is none.
    pub cfg_scale: Option<f32>,
    /// From which share of the steps on they are guided, 0 to 1; before it the prompt alone counts, and a step takes half the
    /// time (Kynkäänniemi et al. 2024, arXiv:2404.07724; diffusers' guiders: `start`).
    pub cfg_start: f64,
    /// Up to which share of the steps, 0 to 1 (`stop`).
    pub cfg_end: f64,
    /// What guidance makes of the model's outputs.
    pub guidance: Guidance,
    /// How the UNet takes its skip connections, where not as they are.
    pub free_u: Option<FreeU>,
    /// What of an evaluation later ones take again.
    pub cache: Cache,
    /// The sigma below which every other evaluation is not guided, and takes half the time (A1111's negative guidance minimum
    /// sigma); 0 for none.
    pub s_min_uncond: f64,
    /// Whether to draw in the few-steps form of a model that has one; where nothing is said, unless the request asks for
    /// what it cannot do: guidance, a negative prompt, many steps.
    pub few_steps: Option<bool>,
    /// How far to pull the guided output's spread back to the conditional one's, 0 to 1 (Lin et al. 2023,
    /// arXiv:2305.08891).
    pub cfg_rescale: f32,
    /// Where noise begins.
    pub seed: u64,
    /// Whether image i has its own generator with seed + i, or one serves all.
    pub batch_seeds: BatchSeeds,
    /// Images made at once.
    pub batch_size: usize,
    /// The sampler; the model's own where there is none.
    pub sampler: Option<Sampler>,
    /// The noise schedule; the sampler's own where there is none.
    pub schedule: Option<Schedule>,
    /// Whose rules sampler and schedule follow; diffusers' where it has them, else A1111's.
    pub sampler_dialect: Option<Dialect>,
    /// The share of noise that is drawn anew, 0 to 1; the sampler's own where there is none, which for DDIM is 0.
    pub eta: Option<f64>,
    /// What multiplies noise that is drawn on the way (this and the next three as in k-diffusion).
    pub s_noise: Option<f64>,
    /// How far noise is turned up before steps, in all of them together.
    pub s_churn: Option<f64>,
    /// The least sigma at which it is turned up.
    pub s_tmin: Option<f64>,
    /// The largest.
    pub s_tmax: Option<f64>,
    /// Noise levels one by one, in place of a schedule.
    pub sigmas: Option<Vec<f64>>,
    /// Timesteps one by one, in place of a schedule.
    pub timesteps: Option<Vec<f64>>,
    /// Whose random numbers the seed gives.
    pub rng: Rng,
    /// Another seed that the noise is turned towards; picture i has it plus i, and all have the same seed.
    pub variation_seed: Option<u64>,
    /// How far it is turned, 0 to 1.
    pub variation_strength: f64,
    /// The width and height in pixels that the seed is drawn at, to be laid into the middle of the picture's.
    pub seed_resize_from: Option<[usize; 2]>,
    /// From which share of the training timesteps on, counted from the noise, the model's refiner draws; 0.8 where there is
    /// none.
    pub refiner_switch: Option<f64>,
    /// How much a refiner is told that the picture is liked, 1 to 10; 6 where there is none.
    pub aesthetic_score: Option<f32>,
    /// The same of what to keep away from; 2.5 where there is none.
    pub negative_aesthetic_score: Option<f32>,
    /// Noise to use in place of the seed's.
    #[serde(skip)]
    pub noise: Option<GivenNoise>,
    /// The picture that drawing begins from, in the place of noise alone. It says the size where nothing else does, rounded down
    /// to the model's step.
    #[serde(skip)]
    pub init_img: Option<Arc<Picture>>,
    /// How much of that picture is drawn anew, 0 to 1; where there is none 0.75, or 1 where the model is told it.
    pub strength: Option<f64>,
    /// How far to follow that picture, by models that are told it and change it (InstructPix2Pix); 1.5 where there is none.
    pub image_cfg_scale: Option<f32>,
    /// By what the model's nets steer it, the n-th by the n-th of these.
    #[serde(skip)]
    pub controls: Vec<Control>,
    /// By whose rule the strength says how many steps are taken.
    pub img2img_steps: StepRule,
    /// How that picture is made to fit where it has another size.
    pub resize: Resize,
    /// Noise for the sample that the encoder takes of that picture, `[1 or B, C, H/f, W/f]` f32; its mean where there is none.
    #[serde(skip)]
    pub vae_noise: Option<HostTensor>,
    /// What of that picture is drawn anew, of its size; all of it where there is none.
    #[serde(skip)]
    pub mask: Option<Arc<Mask>>,
    /// The same as `vae_noise` for the sample of what the mask leaves, which inpainting models are told.
    #[serde(skip)]
    pub masked_vae_noise: Option<HostTensor>,
    /// By how many pixels the mask is softened: where there is none by 0, or by 4 where steps are counted by A1111's rule.
    pub mask_blur: Option<f64>,
    /// Whether the mask's greys count for latents too, which else are drawn anew or kept.
    pub soft_mask: bool,
    /// What stands at first where it is drawn anew: what was there, or with `outpaint` what is around it.
    pub inpaint_fill: Option<InpaintFill>,
    /// Which part of the picture is drawn; a part at the model's own size where no other is said.
    pub inpaint_area: InpaintArea,
    /// Pixels around what is drawn anew that such a part has; 32 where there is none.
    pub inpaint_padding: Option<usize>,
    /// Pixels that the picture is given more, to the left, above, to the right and below, which are drawn.
    pub outpaint: Option<[usize; 4]>,
}

impl Default for Request {
    fn default() -> Self {
        Self::new("")
    }
}

/// Noise from a file, for exact comparison.
#[derive(Clone, Debug)]
pub struct GivenNoise {
    /// The unscaled starting noise, `[B, C, H/f, W/f]` f32, as diffusers' `latents=`; where drawing begins from a picture, what is
    /// added to it.
    pub latents: HostTensor,
    /// What an ancestral or LCM sampler adds, in order, each `[B, C, H/f, W/f]` f32.
    pub added: Vec<HostTensor>,
}

impl Request {
    /// The longest side of a picture, in pixels.
    pub const MOST_PIXELS: usize = 1 << 16;

    /// The largest batch.
    pub const MOST_IMAGES: usize = 1 << 16;

    /// The most steps: ten times as many as models are trained with. A run's table of them lies on the device.
    pub const MOST_STEPS: usize = 10_000;

    /// A request with the defaults of the command line.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompts: vec![prompt.into()],
            negative_prompts: vec![String::new()],
            prompts_2: Vec::new(),
            negative_prompts_2: Vec::new(),
            original_size: None,
            crop: None,
            target_size: None,
            prompt_style: PromptStyle::default(),
            emphasis: Emphasis::default(),
            clip_skip: None,
            width: None,
            height: None,
            steps: None,
            cfg_scale: None,
            cfg_start: 0.0,
            cfg_end: 1.0,
            guidance: Guidance::default(),
            free_u: None,
            cache: Cache::default(),
            s_min_uncond: 0.0,
            few_steps: None,
            cfg_rescale: 0.0,
            seed: 0,
            batch_seeds: BatchSeeds::Each,
            batch_size: 1,
            sampler: None,
            schedule: None,
            sampler_dialect: None,
            eta: None,
            s_noise: None,
            s_churn: None,
            s_tmin: None,
            s_tmax: None,
            sigmas: None,
            timesteps: None,
            rng: Rng::Cpu,
            variation_seed: None,
            variation_strength: 0.0,
            seed_resize_from: None,
            refiner_switch: None,
            aesthetic_score: None,
            negative_aesthetic_score: None,
            noise: None,
            init_img: None,
            strength: None,
            image_cfg_scale: None,
            controls: Vec::new(),
            img2img_steps: StepRule::default(),
            resize: Resize::default(),
            vae_noise: None,
            mask: None,
            masked_vae_noise: None,
            mask_blur: None,
            soft_mask: false,
            inpaint_fill: None,
            inpaint_area: InpaintArea::default(),
            inpaint_padding: None,
            outpaint: None,
        }
    }

    /// What SDXL is told of sizes.
    pub(crate) fn sizes(&self) -> [(Field, Option<[usize; 2]>); 3] {
        [
            (Field::OriginalSize, self.original_size),
            (Field::Crop, self.crop),
            (Field::TargetSize, self.target_size),
        ]
    }

    /// What is said of a variation, where there is one.
    pub(crate) fn variation(&self) -> Option<Variation> {
        let strength = self.variation_strength;
        self.variation_seed.filter(|_| strength > 0.0).map(|seed| Variation { seed, strength })
    }
}
