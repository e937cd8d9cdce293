//! A picture's settings as a request: what draws it again.

use crate::image::Infotext;
use crate::init::StepRule;
use crate::request::Request;
use crate::words::{PromptStyle, networks};
use calotype_sampling::noise::{BatchSeeds, Rng};
use calotype_sampling::{Dialect, Sampler, Schedule};

/// What a picture's settings ask for.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// What draws it again, with the model and the LoRAs that it was drawn with.
    pub request: Request,
    /// The seed, where they hold one.
    pub seed: Option<u64>,
    /// What the model is called.
    pub model: Option<String>,
    /// How much was drawn anew of the picture that it began from, where it began from one: `left` tells of that too.
    pub strength: Option<f64>,
    /// By whose rule its steps were counted.
    pub img2img_steps: StepRule,
    /// What its refiner is called.
    pub refiner: Option<String>,
    /// What LoRAs are called, each with its scale.
    pub loras: Vec<(String, f32)>,
    /// What the words with vectors of their own are called that its prompts name.
    pub embeddings: Vec<String>,
    /// Settings that are not honoured, a line each.
    pub left: Vec<String>,
}

/// Names that tell of the picture and change nothing: of files, of what made them.
const TOLD: [&str; 7] = ["Version", "Model hash", "Lora hashes", "VAE hash", "Batch pos", "User", "SDCPP"];

/// What says that a picture began from another, which settings cannot hold.
const STRENGTH: &str = "Denoising strength";

/// Settings, and the value at which they change nothing: stable-diffusion.cpp writes all of its own, with six decimals.
const NEUTRAL: [(&str, &str); 5] =
    [("ENSD", "0"), (STRENGTH, "1"), ("Sampler RNG", "cuda"), ("Eta", "0.000000"), ("Guidance", "3.500000")];

impl Infotext {
    /// What these settings ask for; `left` of them could not be read at all.
    pub fn recall(&self, left: &[String]) -> Recalled {
        let ours = self.get("Version").is_some_and(|version| version.starts_with("Calotype"));
        let mut recalled = Recalled {
            request: Request {
                // Pictures of ours tell where they are of a few-steps form.
                few_steps: Some(false),
                rng: if ours { Rng::Cpu } else { Rng::Cuda },
                sampler_dialect: if ours { None } else { Some(Dialect::K) },
                ..Request::new(&self.prompt)
            },
            seed: None,
            model: None,
            strength: None,
            img2img_steps: StepRule::A1111,
            refiner: None,
            loras: Vec::new(),
            embeddings: Vec::new(),
            left: left.iter().map(|text| format!("{text:?} is no setting")).collect(),
        };
        recalled.request.negative_prompts = vec![self.negative_prompt.clone()];
        for (name, value) in &self.pairs {
            if name == STRENGTH {
                recalled.strength = value.parse().ok();
            }
            if recalled.take(name, value).is_none() || Recalled::OF_MASKS.contains(&name.as_str()) {
                recalled.left.push(format!("{name}: {value}"));
            }
        }
        let Recalled { request, loras, .. } = &mut recalled;
        if request.prompt_style == PromptStyle::A1111 {
            let (_, found) = networks(&self.prompt);
            for network in found.iter().filter(|network| ["lora", "lyco"].contains(&&*network.kind)) {
                let scale = network.scales().map_or(1.0, |[text, _]| text);
                loras.push((network.name().to_string(), scale));
            }
        }
        // Noise levels one by one say how many steps there are, and which schedule.
        if request.listed().is_some() {
            (request.steps, request.schedule) = (None, None);
        }
        recalled
    }
}

impl Recalled {
    /// What is honoured where a mask is given, which settings cannot hold: `left` tells of it too.
    pub const OF_MASKS: [&str; 6] =
        ["Mask blur", "Masked content", "Inpaint area", "Masked area padding", "Soft mask", "Outpaint"];

    /// Takes a setting; nothing where it is none of ours, or not readable.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        let request = &mut self.request;
        let number = || value.parse::<f64>().ok().filter(|number| number.is_finite());
        let list = || value.split(' ').map(|n| n.parse().ok()).collect::<Option<Vec<f64>>>();
        match name {
            _ if TOLD.contains(&name) || NEUTRAL.contains(&(name, value)) => {}
            "Steps" => request.steps = Some(value.parse().ok()?),
            "Sampler" => self.sampler(value)?,
            "Schedule type" if value == "Automatic" => {}
            "Schedule type" => request.schedule = Some(value.parse().ok()?),
            "CFG scale" => request.cfg_scale = Some(value.parse().ok().filter(|n: &f32| n.is_finite())?),
            "Seed" => {
                request.seed = value.parse().ok()?;
                self.seed = Some(request.seed);
            }
            "Size" => {
                let [width, height] = size(value)?;
                (request.width, request.height) = (Some(width), Some(height));
            }
            "Image CFG scale" => request.image_cfg_scale = Some(number()? as f32),
            "Mask blur" => request.mask_blur = Some(number()?),
            "Masked content" => request.inpaint_fill = Some(value.parse().ok()?),
            "Inpaint area" => request.inpaint_area = value.parse().ok()?,
            "Masked area padding" => request.inpaint_padding = Some(value.parse().ok()?),
            "Soft mask" if value == "True" => request.soft_mask = true,
            "Outpaint" => {
                let sides = value.split(' ').map(|side| side.parse().ok()).collect::<Option<Vec<usize>>>()?;
                request.outpaint = Some(sides.try_into().ok()?);
            }
            "Img2img steps" => self.img2img_steps = value.parse().ok()?,
            "Prompt 2" => request.prompts_2 = vec![value.into()],
            "Negative prompt 2" => request.negative_prompts_2 = vec![value.into()],
            "Original size" => request.original_size = Some(size(value)?),
            "Target size" => request.target_size = Some(size(value)?),
            "Crop" => {
                let (x, y) = value.split_once(',')?;
                request.crop = Some([x.trim().parse().ok()?, y.trim().parse().ok()?]);
            }
            // A1111 adds a hash.
            "Refiner" => self.refiner = Some(value.split(" [").next()?.into()),
            "Refiner switch at" => request.refiner_switch = Some(number()?),
            "Aesthetic score" => request.aesthetic_score = Some(number()? as f32),
            "Negative aesthetic score" => request.negative_aesthetic_score = Some(number()? as f32),
            "Model" => self.model = Some(value.into()),
            "Few steps" => request.few_steps = Some(true),
            "CFG start" => request.cfg_start = number()?,
            "CFG end" => request.cfg_end = number()?,
            "Guidance" => request.guidance = value.parse().ok()?,
            "FreeU" => request.free_u = Some(value.parse().ok()?),
            "Cache" => request.cache = value.parse().ok()?,
            "NGMS" => request.s_min_uncond = number()?,
            "CFG rescale" => request.cfg_rescale = value.parse().ok()?,
            "Eta" | "Eta DDIM" => request.eta = Some(number()?),
            "Sigma churn" => request.s_churn = Some(number()?),
            "Sigma tmin" => request.s_tmin = Some(number()?),
            "Sigma tmax" => request.s_tmax = Some(number()?),
            "Sigma noise" => request.s_noise = Some(number()?),
            "Sigmas" => request.sigmas = Some(list()?),
            "Timesteps" => request.timesteps = Some(list()?),
            "Sampler dialect" => request.sampler_dialect = Some(value.parse().ok()?),
            "Prompt style" => request.prompt_style = value.parse().ok()?,
            "Emphasis" => request.emphasis = value.parse().ok()?,
            "Clip skip" => request.clip_skip = Some(value.parse().ok()?),
            "Variation seed" => request.variation_seed = Some(value.parse().ok()?),
            "Variation seed strength" => request.variation_strength = number()?,
            "Seed resize from" => request.seed_resize_from = Some(size(value)?),
            "RNG" if value == "GPU" => request.rng = Rng::Cuda,
            "RNG" => request.rng = value.parse().ok()?,
            // One generator for all: only the whole batch gives the picture again.
            "Batch size" => {
                request.batch_size = value.parse().ok()?;
                request.batch_seeds = BatchSeeds::One;
            }
            "TI hashes" => {
                let names = value.split(", ").filter_map(|each| Some(each.rsplit_once(':')?.0.into()));
                self.embeddings.extend(names);
            }
            "Loras" => {
                for lora in value.split(", ") {
                    let (name, scale) = lora.rsplit_once(':')?;
                    self.loras.push((name.into(), scale.parse().ok()?));
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A sampler by its name, which before A1111's 1.9 ended in its schedule's, and is `name schedule` for
    /// stable-diffusion.cpp.
    fn sampler(&mut self, name: &str) -> Option<()> {
        let whole = name.parse::<Sampler>();
        let apart = || {
            let (sampler, schedule) = name.rsplit_once(' ')?;
            Some((sampler.parse().ok()?, schedule.parse::<Schedule>().ok()?))
        };
        let (sampler, schedule) = match whole {
            Ok(sampler) => (sampler, None),
            Err(_) => apart().map(|(sampler, schedule)| (sampler, Some(schedule)))?,
        };
        self.request.sampler = Some(sampler);
        self.request.schedule = schedule.or(self.request.schedule);
        Some(())
    }
}

fn size(text: &str) -> Option<[usize; 2]> {
    let (width, height) = text.split_once('x')?;
    Some([width.parse().ok()?, height.parse().ok()?])
}
