//! What the server is at, and what was set.

use crate::body::Sent;
use crate::problem::Problem;
use crate::{Shared, pictures};
use axum::Json;
use axum::extract::{Query, State};
use calotype::image::PictureFormat;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Look {
    skip_current_image: bool,
}

pub async fn progress(
    State(served): State<Shared>,
    Query(look): Query<Look>,
) -> Result<Json<Value>, Problem> {
    if !look.skip_current_image {
        served.worker.look();
    }
    let state = served.worker.state();
    let flags = |count: u32, number: u32, [step, steps]: [usize; 2], job: &str| {
        json!({
            "skipped": false, "interrupted": false, "stopping_generation": false, "job": job, "job_count": count,
            "job_timestamp": "0", "job_no": number, "sampling_step": step, "sampling_steps": steps,
        })
    };
    let Some(running) = state.running else {
        let state = flags(0, 0, [0, 0], "");
        return Ok(Json(
            json!({"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": null, "textinfo": null}),
        ));
    };
    let ([done, all], [step, steps]) = (running.batches, running.steps);
    let share = if steps == 0 { 0.0 } else { step as f64 / steps as f64 };
    // As A1111 has it (modules/api/api.py, `progressapi`).
    let progress = (0.01 + (f64::from(done) + share) / f64::from(all.max(1))).min(1.0);
    let elapsed = running.elapsed.as_secs_f64();
    let preview = running.preview.filter(|_| !look.skip_current_image);
    let shown = match preview {
        Some(preview) => Some(pictures::base64(&pictures::encode(preview, PictureFormat::Png, None).await?)),
        None => None,
    };
    Ok(Json(json!({
        "progress": progress,
        "eta_relative": elapsed / progress - elapsed,
        "state": flags(all, done, [step, steps], "scripts_txt2img"),
        "current_image": shown,
        "textinfo": (state.waiting > 0).then(|| format!("{} wait", state.waiting)),
    })))
}

pub async fn interrupt(State(served): State<Shared>) -> Json<Value> {
    served.worker.interrupt();
    Json(json!({}))
}

pub async fn skip(State(served): State<Shared>) -> Json<Value> {
    served.worker.skip();
    Json(Value::Null)
}

/// Bytes of all options that clients have set: they post back what they read, and more is nobody's.
const OPTIONS: usize = 64 << 10;

pub async fn options(State(served): State<Shared>) -> Json<Value> {
    let mut all = served.options.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let open = served.worker.state().model.unwrap_or_default();
    let own = [
        ("sd_model_checkpoint", json!(open)),
        ("sd_vae", json!("Automatic")),
        ("CLIP_stop_at_last_layers", json!(1)),
        ("samples_format", json!("png")),
        ("sd_checkpoint_hash", json!("")),
    ];
    for (name, value) in own {
        all.entry(name).or_insert(value);
    }
    Json(all.into())
}

/// Sets options. Of those the model counts, which is opened for the next picture, and the layer of the text encoder.
pub async fn set_options(
    State(served): State<Shared>,
    Sent(set): Sent<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    if let Some(name) = set.get("sd_model_checkpoint").and_then(Value::as_str).filter(|name| !name.is_empty())
    {
        served.model(name)?;
    }
    let mut all = served.options.lock().unwrap_or_else(|e| e.into_inner());
    let mut next = all.clone();
    next.extend(set);
    if Value::Object(next.clone()).to_string().len() > OPTIONS {
        return Err(Problem::bad(format!("options take more than {OPTIONS} bytes: set fewer")));
    }
    *all = next;
    Ok(Json(Value::Null))
}

/// What the host and the device have: what is not known is told as an error, as A1111 does.
pub async fn memory(State(_): State<Shared>) -> Json<Value> {
    let unknown = json!({"error": "not known"});
    Json(json!({"ram": unknown, "cuda": unknown}))
}
