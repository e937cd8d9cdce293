//! What a picture tells of itself.

use crate::body::Sent;
use crate::pictures;
use crate::problem::Problem;
use axum::Json;
use calotype::image;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
pub struct Sought {
    image: String,
}

pub async fn png_info(Sent(sought): Sent<Sought>) -> Result<Json<Value>, Problem> {
    let bytes = pictures::bytes("image", &sought.image)?;
    if !image::is_picture(&bytes) {
        return Err(Problem::field("image", "image: neither a PNG nor a JPEG nor a WebP"));
    }
    let texts = image::texts(&bytes).map_err(|e| Problem::field("image", format!("image: {e}")))?;
    let info = texts.iter().find(|(keyword, _)| keyword == "parameters").map_or("", |(_, text)| text);
    let mut parameters = Map::new();
    if let Some((settings, _)) = image::settings(&texts) {
        parameters.insert("Prompt".into(), settings.prompt.into());
        parameters.insert("Negative prompt".into(), settings.negative_prompt.into());
        parameters.extend(settings.pairs.into_iter().map(|(name, value)| (name, value.into())));
    }
    let items: Map<String, Value> =
        texts.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
    Ok(Json(json!({"info": info, "items": items, "parameters": parameters})))
}
