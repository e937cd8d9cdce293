//! A picture: the settings that it carries, or the embedding.

use super::{embedding, plain};
use crate::text::{self, table};
use crate::wanted;
use calotype::Picture;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Prints what a picture's settings are, and what of them a run here does not honour.
pub fn print(file: &Path, as_json: bool) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let bytes = wanted::read(file)?;
    let (settings, word) = (wanted::settings_of(file, &bytes)?, Picture::embedding(&name, &bytes)?);
    if let Some(word) = word {
        return match as_json {
            true => text::json(&json!({"file": name, "embedding": embedding::object(&word)})),
            false => text::result(&format!(
                "{name}: a picture that carries an embedding\n\n{}",
                table(&embedding::rows(&word), &[])
            )),
        };
    }
    let Some((settings, left)) = settings else {
        return match as_json {
            true => text::json(&json!({"file": name, "settings": null})),
            false => text::result(&format!("{name}: a picture without settings")),
        };
    };
    let recalled = settings.recall(&left);
    if as_json {
        let pairs: Map<String, Value> =
            settings.pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        return text::json(&json!({
            "file": name,
            "prompt": settings.prompt,
            "negative_prompt": settings.negative_prompt,
            "settings": pairs,
            "request": recalled.request,
            "loras": recalled.loras,
            "not_honoured": recalled.left,
        }));
    }
    let texts = [("prompt", &settings.prompt), ("negative prompt", &settings.negative_prompt)];
    let texts =
        texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_string(), text));
    let pairs = settings.pairs.iter().map(|(name, value)| (name.clone(), value));
    let rows: Vec<Vec<String>> = texts
        .chain(pairs)
        .map(|(name, value)| (name, value.replace('\n', " ⏎ ")))
        .map(|(name, value)| vec![plain(&name), plain(&value)])
        .chain(recalled.left.iter().map(|line| vec!["not honoured".into(), plain(line)]))
        .collect();
    text::result(&format!("{name}: a picture's settings\n\n{}", table(&rows, &[])))
}
