//! `txt2img` and `img2img`.

use super::inpaint::MaskAsked;
use crate::body::Sent;
use crate::drawing::draw;
use crate::problem::Problem;
use crate::{Served, Shared, pictures};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use calotype::image::{Infotext, PictureFormat};
use calotype::{Dialect, Mask, Picture, Request, Resize, Rng, StepRule, random_seed};
use calotype_worker::{Job, MadePicture};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What clients send, by A1111's names; null is as if it were not there.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DrawingAsked {
    prompt: Option<String>,
    negative_prompt: Option<String>,
    seed: Option<i64>,
    subseed: Option<i64>,
    subseed_strength: Option<f64>,
    seed_resize_from_h: Option<i64>,
    seed_resize_from_w: Option<i64>,
    sampler_name: Option<String>,
    sampler_index: Option<String>,
    scheduler: Option<String>,
    steps: Option<usize>,
    cfg_scale: Option<f32>,
    width: Option<usize>,
    height: Option<usize>,
    batch_size: Option<usize>,
    n_iter: Option<u32>,
    eta: Option<f64>,
    s_churn: Option<f64>,
    s_tmin: Option<f64>,
    s_tmax: Option<f64>,
    s_noise: Option<f64>,
    s_min_uncond: Option<f64>,
    denoising_strength: Option<f64>,
    clip_skip: Option<usize>,
    send_images: Option<bool>,
    override_settings: Option<Map<String, Value>>,
    init_images: Option<Vec<String>>,
    resize_mode: Option<u8>,
    #[serde(flatten)]
    inpaint: MaskAsked,
    enable_hr: Option<bool>,
    restore_faces: Option<bool>,
    tiling: Option<bool>,
    refiner_checkpoint: Option<String>,
    script_name: Option<String>,
    alwayson_scripts: Option<Map<String, Value>>,
}

/// What it takes if nothing is said.
const STEPS: usize = 50;
const SIDE: usize = 512;
const CFG_SCALE: f32 = 7.0;
const STRENGTH: f64 = 0.75;

pub async fn txt2img(
    State(served): State<Shared>,
    Sent(asked): Sent<DrawingAsked>,
) -> Result<Json<Value>, Problem> {
    let job = job(&served, &asked, None)?;
    answer(&served, job, &asked).await
}

pub async fn img2img(
    State(served): State<Shared>,
    Sent(asked): Sent<DrawingAsked>,
) -> Result<Json<Value>, Problem> {
    let first = asked.init_images.iter().flatten().next();
    let missing = || Problem::new(StatusCode::NOT_FOUND, "Init image not found");
    let picture = pictures::read("init_images", first.ok_or_else(missing)?).await?;
    let mask = asked.inpaint.read().await?;
    let job = job(&served, &asked, Some((picture, mask)))?;
    answer(&served, job, &asked).await
}

fn job(served: &Served, asked: &DrawingAsked, init: Option<(Picture, Option<Mask>)>) -> Result<Job, Problem> {
    refuse(asked)?;
    let options = served.options.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let set = |name: &str| {
        asked.override_settings.as_ref().and_then(|set| set.get(name)).or(options.get(name)).cloned()
    };
    let seed_of =
        |seed: Option<i64>| seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or_else(random_seed);
    let strength = asked.subseed_strength.unwrap_or(0.0);
    let sides = [asked.seed_resize_from_w, asked.seed_resize_from_h];
    let sides = sides.map(|side| side.and_then(|side| usize::try_from(side).ok()).filter(|side| *side > 0));
    let skipped = set("CLIP_stop_at_last_layers").and_then(|layers| layers.as_u64()).map(|n| n as usize);
    let mut request = Request {
        negative_prompts: vec![asked.negative_prompt.clone().unwrap_or_default()],
        width: Some(asked.width.unwrap_or(SIDE)),
        height: Some(asked.height.unwrap_or(SIDE)),
        steps: Some(asked.steps.unwrap_or(STEPS)),
        cfg_scale: Some(asked.cfg_scale.unwrap_or(CFG_SCALE)),
        few_steps: Some(false),
        seed: seed_of(asked.seed),
        batch_size: asked.batch_size.unwrap_or(1),
        variation_seed: (strength > 0.0).then(|| seed_of(asked.subseed)),
        variation_strength: strength,
        seed_resize_from: if let [Some(w), Some(h)] = sides { Some([w, h]) } else { None },
        clip_skip: asked.clip_skip.or(skipped).filter(|layer| *layer > 1),
        eta: asked.eta,
        s_churn: asked.s_churn,
        s_tmin: asked.s_tmin,
        s_tmax: asked.s_tmax,
        s_noise: asked.s_noise,
        s_min_uncond: asked.s_min_uncond.unwrap_or(0.0),
        // As the web UI's pictures are: the GPU's numbers, k-diffusion's rules.
        rng: Rng::Cuda,
        sampler_dialect: Some(Dialect::K),
        ..Request::new(asked.prompt.clone().unwrap_or_default())
    };
    sampler(asked, &mut request)?;
    if let Some((picture, mask)) = init {
        request.init_img = Some(Arc::new(picture));
        request.strength = Some(asked.denoising_strength.unwrap_or(STRENGTH));
        request.img2img_steps = StepRule::A1111;
        request.resize = match asked.resize_mode.unwrap_or(0) {
            0 => Resize::Stretch,
            1 => Resize::Crop,
            2 => Resize::Fill,
            other => {
                return Err(Problem::field("resize_mode", format!("resize_mode {other}: use 0, 1 or 2")));
            }
        };
        mask.map_or(Ok(()), |mask| asked.inpaint.apply(mask, &mut request))?;
    }
    let model = set("sd_model_checkpoint");
    let model = model.as_ref().and_then(Value::as_str).filter(|name| !name.is_empty());
    served.job(request, asked.n_iter.unwrap_or(1), model)
}

/// Says of what is not here that it is not: a picture without it would be another.
fn refuse(asked: &DrawingAsked) -> Result<(), Problem> {
    let not = |field: &'static str, what: &str| {
        Err(Problem::field(field, format!("{field}: {what} is not here yet: leave it out")))
    };
    if asked.enable_hr == Some(true) {
        return not("enable_hr", "the second, larger pass");
    }
    if asked.restore_faces == Some(true) {
        return not("restore_faces", "the restoring of faces");
    }
    if asked.tiling == Some(true) {
        return not("tiling", "seamless tiling");
    }
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !["", "None"].contains(&&**name));
    if named(&asked.refiner_checkpoint) {
        return not("refiner_checkpoint", "a refiner through this API");
    }
    let unknown = |why: String| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    if let Some(name) = asked.script_name.as_ref().filter(|_| named(&asked.script_name)) {
        return unknown(format!("Script '{name}' not found"));
    }
    match asked.alwayson_scripts.iter().flatten().next() {
        Some((name, _)) => unknown(format!("always on script {name} not found")),
        None => Ok(()),
    }
}

/// The sampler and the schedule, which older clients write behind it.
fn sampler(asked: &DrawingAsked, request: &mut Request) -> Result<(), Problem> {
    let name = asked.sampler_name.as_ref().or(asked.sampler_index.as_ref());
    let name = name.map_or("Euler", |name| &**name);
    let said = Infotext {
        prompt: String::new(),
        negative_prompt: String::new(),
        pairs: vec![("Sampler".into(), name.into())],
    };
    let recalled = said.recall(&[]);
    if !recalled.left.is_empty() {
        return Err(Problem::field("sampler_name", "Sampler not found"));
    }
    (request.sampler, request.schedule) = (recalled.request.sampler, recalled.request.schedule);
    if let Some(name) =
        asked.scheduler.as_ref().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("automatic"))
    {
        let schedule =
            name.parse().map_err(|_| Problem::field("scheduler", format!("Scheduler {name:?} not found")))?;
        request.schedule = Some(schedule);
    }
    Ok(())
}

async fn answer(served: &Shared, job: Job, asked: &DrawingAsked) -> Result<Json<Value>, Problem> {
    let (request, model) = (job.request.clone(), job.model.clone());
    let outcome = draw(served, job).await?;
    let mut images = Vec::new();
    for made in outcome.pictures.iter().filter(|_| asked.send_images != Some(false)) {
        let file = pictures::encode(made.picture.clone(), PictureFormat::Png, Some(made.settings.clone()));
        images.push(pictures::base64(&file.await?));
    }
    let model = model.or(served.worker.state().model).unwrap_or_default();
    let info = info(&request, &model, &outcome.pictures).to_string();
    // Pictures that came are not sent back.
    let mut told = DrawingAsked { init_images: None, ..asked.clone() };
    told.inpaint.mask = None;
    Ok(Json(json!({"images": images, "parameters": told, "info": info})))
}

/// What `Processed.js` of modules/processing.py tells.
fn info(request: &Request, model: &str, made: &[MadePicture]) -> Value {
    let all = |text: &str| vec![text.to_owned(); made.len()];
    let (prompt, negative) = (&request.prompts[0], &request.negative_prompts[0]);
    let variation = request.variation_seed.unwrap_or(0);
    let [from_w, from_h] = request.seed_resize_from.map_or([-1, -1], |sides| sides.map(|side| side as i64));
    json!({
        "prompt": prompt,
        "all_prompts": all(prompt),
        "negative_prompt": negative,
        "all_negative_prompts": all(negative),
        "seed": request.seed,
        "all_seeds": made.iter().map(|made| made.seed).collect::<Vec<_>>(),
        "subseed": variation,
        "all_subseeds": (0..made.len() as u64).map(|i| variation.wrapping_add(i)).collect::<Vec<_>>(),
        "subseed_strength": request.variation_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler.map(|sampler| sampler.label()),
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": false,
        "face_restoration_model": null,
        "sd_model_name": model,
        "sd_model_hash": null,
        "sd_vae_name": null,
        "sd_vae_hash": null,
        "seed_resize_from_w": from_w,
        "seed_resize_from_h": from_h,
        "denoising_strength": request.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": made.iter().map(|made| &made.settings).collect::<Vec<_>>(),
        "styles": [],
        "job_timestamp": "",
        "clip_skip": request.clip_skip.unwrap_or(1),
        "is_using_inpainting_conditioning": false,
        "version": concat!("calotype ", env!("CARGO_PKG_VERSION")),
    })
}
