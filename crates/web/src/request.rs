//! A request as JavaScript words it.

use crate::fault::{Fault, Result};
use calotype_pipeline::samplers::Error;
use calotype_pipeline::words::{Emphasis, PromptStyle};
use calotype_pipeline::{GivenNoise, Model, Order, Request};
use calotype_tensor::HostTensor;
use serde::Deserialize;
use std::str::FromStr;

/// One text for all pictures, or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Each(Vec<String>),
}

impl From<Texts> for Vec<String> {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::One(text) => vec![text],
            Texts::Each(texts) => texts,
        }
    }
}

/// The flags of the command line in JavaScript's spelling. What is left out has the model's default, or else the command
/// line's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Words {
    prompt: Texts,
    negative_prompt: Option<Texts>,
    prompt_2: Option<Texts>,
    negative_prompt_2: Option<Texts>,
    /// `a1111`, `comfy` or `plain`.
    prompt_style: Option<PromptStyle>,
    /// A1111's name of it.
    emphasis: Option<Emphasis>,
    clip_skip: Option<usize>,
    /// Width and height.
    original_size: Option<[usize; 2]>,
    /// From the left and from the top.
    crop: Option<[usize; 2]>,
    /// Width and height.
    target_size: Option<[usize; 2]>,
    width: Option<usize>,
    height: Option<usize>,
    steps: Option<usize>,
    cfg_scale: Option<f32>,
    cfg_start: Option<f64>,
    cfg_end: Option<f64>,
    /// A kind by its name, and its numbers: `apg:eta=0`.
    guidance: Option<String>,
    /// `1.5,1.6,0.9,0.2`.
    freeu: Option<String>,
    /// `deep:3`.
    cache: Option<String>,
    s_min_uncond: Option<f64>,
    cfg_rescale: Option<f32>,
    /// Digits: JavaScript's numbers end before a seed does.
    seed: Option<String>,
    batch_size: Option<usize>,
    sampler: Option<String>,
    scheduler: Option<String>,
    sampler_dialect: Option<String>,
    eta: Option<f64>,
    s_noise: Option<f64>,
    s_churn: Option<f64>,
    s_tmin: Option<f64>,
    s_tmax: Option<f64>,
    sigmas: Option<Vec<f64>>,
    timesteps: Option<Vec<f64>>,
    rng: Option<String>,
    /// Digits, as the seed.
    variation_seed: Option<String>,
    variation_strength: Option<f64>,
    /// Width and height.
    seed_resize_from: Option<[usize; 2]>,
}

/// A word that may be left empty.
fn word<T: FromStr<Err = Error>>(word: Option<String>) -> Result<Option<T>> {
    let parsed = word.filter(|word| !word.is_empty()).map(|word| word.parse()).transpose();
    parsed.map_err(|error| calotype_pipeline::Error::from(error).into())
}

/// Digits.
fn seed(name: &str, digits: Option<String>) -> Result<Option<u64>> {
    let bad =
        |digits: String| Fault::usage(format!("{name} {digits} is not a whole number from 0 to 2^64 - 1"));
    digits.map(|digits| digits.trim().parse().map_err(|_| bad(digits))).transpose()
}

/// Reads a request as a model draws it; `few_steps` is whether in its few-steps form, `latents` the unscaled starting noise,
/// `[B, C, H/f, W/f]`, where it is given.
pub fn parse(json: &str, latents: Option<Vec<f32>>, few_steps: Option<bool>, model: &Model) -> Result<Order> {
    let words: Words = serde_json::from_str(json)?;
    let mut request = Request { few_steps, ..Request::default() };
    request.prompts = words.prompt.into();
    if let Some(texts) = words.negative_prompt {
        request.negative_prompts = texts.into();
    }
    request.prompts_2 = words.prompt_2.map(Vec::from).unwrap_or_default();
    request.negative_prompts_2 = words.negative_prompt_2.map(Vec::from).unwrap_or_default();
    request.prompt_style = words.prompt_style.unwrap_or_default();
    request.emphasis = words.emphasis.unwrap_or_default();
    request.clip_skip = words.clip_skip;
    (request.original_size, request.crop) = (words.original_size, words.crop);
    request.target_size = words.target_size;
    request.width = words.width;
    request.height = words.height;
    request.steps = words.steps;
    request.cfg_scale = words.cfg_scale;
    request.cfg_start = words.cfg_start.unwrap_or(request.cfg_start);
    request.cfg_end = words.cfg_end.unwrap_or(request.cfg_end);
    if let Some(kind) = words.guidance {
        request.guidance = kind.parse().map_err(|why| Fault::usage(format!("guidance: {why}")))?;
    }
    let other = |name: &'static str| move |why: String| Fault::usage(format!("{name}: {why}"));
    request.free_u = words.freeu.map(|text| text.parse()).transpose().map_err(other("freeu"))?;
    if let Some(cache) = words.cache {
        request.cache = cache.parse().map_err(other("cache"))?;
    }
    request.s_min_uncond = words.s_min_uncond.unwrap_or(request.s_min_uncond);
    request.cfg_rescale = words.cfg_rescale.unwrap_or(request.cfg_rescale);
    request.eta = words.eta;
    (request.s_noise, request.s_churn) = (words.s_noise, words.s_churn);
    (request.s_tmin, request.s_tmax) = (words.s_tmin, words.s_tmax);
    (request.sigmas, request.timesteps) = (words.sigmas, words.timesteps);
    request.seed_resize_from = words.seed_resize_from;
    request.variation_seed = seed("variationSeed", words.variation_seed)?;
    request.variation_strength = words.variation_strength.unwrap_or(0.0);
    request.rng = word(words.rng)?.unwrap_or_default();
    request.batch_size = words.batch_size.unwrap_or(request.prompts.len());
    if let Some(seed) = seed("seed", words.seed)? {
        request.seed = seed;
    }
    request.sampler = word(words.sampler)?;
    request.schedule = word(words.scheduler)?;
    request.sampler_dialect = word(words.sampler_dialect)?;
    request.check()?;
    if let Some(values) = latents {
        let [height, width] = request.size(model)?;
        let vae = &model.config.vae;
        let shape = [request.batch_size, vae.latent_channels, height / vae.factor(), width / vae.factor()];
        if values.len() != shape.iter().product::<usize>() {
            return Err(Fault::usage(format!(
                "latents holds {} numbers, and this run takes {shape:?}",
                values.len()
            )));
        }
        request.noise = Some(GivenNoise { latents: HostTensor::from_f32(shape, &values), added: Vec::new() });
    }
    Ok(request.settle(model)?)
}
