//! AUTOMATIC1111's API, `/sdapi/v1` (modules/api/api.py and models.py of its web UI, 1.10).

mod draw;
mod info;
mod inpaint;
mod lists;
mod state;

use crate::Shared;
use axum::Router;
use axum::routing::{get, post};

/// Its routes.
pub fn routes() -> Router<Shared> {
    let api = Router::new()
        .route("/txt2img", post(draw::txt2img))
        .route("/img2img", post(draw::img2img))
        .route("/progress", get(state::progress))
        .route("/interrupt", post(state::interrupt))
        .route("/skip", post(state::skip))
        .route("/options", get(state::options).post(state::set_options))
        .route("/memory", get(state::memory))
        .route("/png-info", post(info::png_info))
        .route("/samplers", get(lists::samplers))
        .route("/schedulers", get(lists::schedulers))
        .route("/upscalers", get(lists::upscalers))
        .route("/sd-models", get(lists::models))
        .route("/loras", get(lists::loras))
        .route("/embeddings", get(lists::embeddings))
        .route("/scripts", get(lists::scripts));
    // What there is none of here, so that those who ask for lists go on.
    let empty = [
        "latent-upscale-modes",
        "sd-vae",
        "sd-modules",
        "prompt-styles",
        "face-restorers",
        "hypernetworks",
        "realesrgan-models",
        "script-info",
        "extensions",
    ];
    let api = empty.into_iter().fold(api, |api, name| api.route(&format!("/{name}"), get(lists::none)));
    let still = ["refresh-checkpoints", "refresh-loras", "refresh-vae"];
    let api = still.into_iter().fold(api, |api, name| api.route(&format!("/{name}"), post(lists::nothing)));
    Router::new().nest("/sdapi/v1", api)
}
