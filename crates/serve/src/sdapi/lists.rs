//! What there is.

use crate::Shared;
use axum::Json;
use axum::extract::State;
use calotype::{Dialect, Sampler, Schedule};
use serde_json::{Map, Value, json};

/// Those that this API draws with, by A1111's names.
pub async fn samplers() -> Json<Value> {
    let here = Sampler::ALL.iter().filter(|sampler| sampler.descriptor().method(Dialect::K).is_some());
    let list = here.map(|sampler| {
        let known = sampler.descriptor();
        let options: Map<String, Value> =
            known.schedule.iter().map(|name| ("scheduler".into(), json!(name))).collect();
        json!({"name": known.label, "aliases": known.names, "options": options})
    });
    Json(list.collect())
}

pub async fn schedulers() -> Json<Value> {
    let automatic = json!({
        "name": "automatic", "label": "Automatic", "aliases": null, "default_rho": -1.0, "need_inner_model": false,
    });
    let known = Schedule::names().into_iter().filter_map(|name| Some((name, name.parse::<Schedule>().ok()?)));
    let list = known.map(|(name, schedule)| {
        let rho = match schedule {
            Schedule::Karras => 7.0,
            Schedule::Polyexponential => 1.0,
            _ => -1.0,
        };
        json!({
            "name": name, "label": schedule.label(), "aliases": null, "default_rho": rho, "need_inner_model": false,
        })
    });
    Json(std::iter::once(automatic).chain(list).collect())
}

/// A1111's first is none at all.
pub async fn upscalers() -> Json<Value> {
    Json(json!([{"name": "None", "model_name": null, "model_path": null, "model_url": null, "scale": 4.0}]))
}

pub async fn models(State(served): State<Shared>) -> Json<Value> {
    let list = served.config.models.iter().map(|model| {
        let stem = model.name.rsplit_once('.').map_or(&*model.name, |(stem, _)| stem);
        json!({
            "title": model.name, "model_name": stem, "hash": null, "sha256": null,
            "filename": model.file.as_ref().map_or(model.name.clone(), |file| file.display().to_string()), "config": null,
        })
    });
    Json(list.collect())
}

pub async fn loras(State(served): State<Shared>) -> Json<Value> {
    let list = served.config.loras.iter().map(|lora| {
        json!({"name": lora.name, "alias": lora.name, "path": lora.file.display().to_string(), "metadata": {}})
    });
    Json(list.collect())
}

pub async fn embeddings(State(served): State<Shared>) -> Json<Value> {
    let list = served.config.embeddings.iter().map(|word| {
        let facts = json!({
            "step": word.step, "sd_checkpoint": null, "sd_checkpoint_name": null, "shape": word.width, "vectors": word.vectors,
        });
        (word.name.clone(), facts)
    });
    Json(json!({"loaded": list.collect::<Map<String, Value>>(), "skipped": {}}))
}

pub async fn scripts() -> Json<Value> {
    Json(json!({"txt2img": [], "img2img": []}))
}

pub async fn none() -> Json<Value> {
    Json(json!([]))
}

pub async fn nothing() -> Json<Value> {
    Json(Value::Null)
}
