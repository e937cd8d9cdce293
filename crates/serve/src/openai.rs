//! OpenAI's images API: `/v1/images/generations` and `/v1/models`.

use crate::body::Sent;
use crate::drawing::draw;
use crate::problem::Problem;
use crate::{Shared, pictures};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use calotype::image::PictureFormat;
use calotype::{Request, random_seed};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Its routes, and that of the pictures which its answers name.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/images/generations", post(generations))
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/files/{id}", get(file))
}

/// What clients send: OpenAI's fields, the command line's words, and two that other servers have for these.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    prompt: Option<String>,
    model: Option<String>,
    n: Option<u32>,
    size: Option<String>,
    response_format: Option<String>,
    output_format: Option<String>,
    output_compression: Option<u8>,
    stream: Option<bool>,
    negative_prompt: Option<String>,
    #[serde(alias = "num_inference_steps")]
    steps: Option<usize>,
    #[serde(alias = "guidance_scale")]
    cfg_scale: Option<f32>,
    seed: Option<u64>,
    sampler: Option<String>,
    scheduler: Option<String>,
}

/// The most pictures of one request.
const MOST: u32 = 10;

fn request(asked: &Asked) -> Result<Request, Problem> {
    let prompt = asked.prompt.clone().filter(|prompt| !prompt.is_empty());
    let prompt = prompt.ok_or_else(|| Problem::field("prompt", "prompt: say what is to be drawn"))?;
    let size = match asked.size.as_deref() {
        None | Some("auto") => [None, None],
        Some(text) => {
            let sides = text.split_once('x').map(|(w, h)| [w, h].map(|side| side.parse::<usize>().ok()));
            let wrong =
                || Problem::field("size", format!("size {text:?}: use auto, or a size such as 512x512"));
            sides.filter(|sides| sides.iter().all(Option::is_some)).ok_or_else(wrong)?
        }
    };
    let sampler = asked.sampler.as_ref().map(|name| name.parse()).transpose();
    let schedule = asked.scheduler.as_ref().map(|name| name.parse()).transpose();
    Ok(Request {
        negative_prompts: vec![asked.negative_prompt.clone().unwrap_or_default()],
        width: size[0],
        height: size[1],
        steps: asked.steps,
        cfg_scale: asked.cfg_scale,
        seed: asked.seed.unwrap_or_else(random_seed),
        sampler: sampler.map_err(|why| Problem::field("sampler", format!("sampler: {why}")))?,
        schedule: schedule.map_err(|why| Problem::field("scheduler", format!("scheduler: {why}")))?,
        ..Request::new(prompt)
    })
}

async fn generations(
    State(served): State<Shared>,
    headers: HeaderMap,
    Sent(asked): Sent<Asked>,
) -> Result<Json<Value>, Problem> {
    if asked.stream == Some(true) {
        return Err(Problem::field("stream", "stream: partial pictures are not here yet: leave it out"));
    }
    let count = asked.n.unwrap_or(1);
    if !(1..=MOST).contains(&count) {
        return Err(Problem::field("n", format!("n {count}: ask for 1 to {MOST} pictures")));
    }
    let quality = asked.output_compression.unwrap_or(100).clamp(1, 100);
    let format = match asked.output_format.as_deref() {
        None | Some("png") => PictureFormat::Png,
        Some("jpeg") => PictureFormat::Jpeg(quality),
        Some("webp") => PictureFormat::WebP,
        Some(other) => {
            let why = format!("output_format {other:?}: use png, jpeg or webp");
            return Err(Problem::field("output_format", why));
        }
    };
    let by_address = match asked.response_format.as_deref() {
        None | Some("b64_json") => false,
        Some("url") => true,
        Some(other) => {
            let why = format!("response_format {other:?}: use b64_json or url");
            return Err(Problem::field("response_format", why));
        }
    };
    let model = asked.model.as_deref().filter(|name| !name.is_empty());
    // Clients that know OpenAI's models alone send one of those: the server's first is meant.
    let model = model
        .filter(|name| !["dall-e", "gpt-image", "chatgpt-image"].iter().any(|own| name.starts_with(own)));
    let job = served.job(request(&asked)?, count, model)?;
    let outcome = draw(&served, job).await?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut data = Vec::new();
    for made in outcome.pictures {
        let file = pictures::encode(made.picture, format, Some(made.settings)).await?;
        data.push(match by_address {
            false => json!({"b64_json": pictures::base64(&file)}),
            true => {
                let id = served.kept.lock().unwrap_or_else(|e| e.into_inner()).keep(format, file)?;
                json!({"url": format!("http://{host}/files/{id}")})
            }
        });
    }
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Json(json!({"created": created, "data": data})))
}

async fn file(State(served): State<Shared>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = served.kept.lock().unwrap_or_else(|e| e.into_inner()).get(&id);
    let (format, file) = found.ok_or_else(Problem::unknown)?;
    Ok(([(header::CONTENT_TYPE, pictures::media_type(format))], file).into_response())
}

async fn models(State(served): State<Shared>) -> Json<Value> {
    let data: Vec<Value> = served.config.models.iter().map(|model| told(&model.name)).collect();
    Json(json!({"object": "list", "data": data}))
}

async fn model(State(served): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = served.config.models.iter().find(|model| model.name == id);
    found.map(|model| Json(told(&model.name))).ok_or_else(Problem::unknown)
}

fn told(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "calotype"})
}
