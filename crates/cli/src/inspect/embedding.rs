//! What a file is as a word with vectors of its own.

use calotype::{FileKind, TextualInversion};
use calotype_weights::Checkpoint;
use serde_json::{Value, json};
use std::path::Path;

/// What it is, where it is one.
pub fn facts(path: &Path) -> anyhow::Result<Option<TextualInversion>> {
    let file = Checkpoint::open(path).map_err(calotype::Error::from)?;
    let names = calotype_weights::Tensors::names(&file);
    if FileKind::of(&names) != FileKind::Embedding {
        return Ok(None);
    }
    Ok(Some(pollster::block_on(TextualInversion::read(&file)).map_err(calotype::Error::from)?))
}

/// The same in words, a line each.
pub fn rows(embedding: &TextualInversion) -> Vec<Vec<String>> {
    let rows = [
        ("vectors", Some(format!("{}, {}", embedding.count(), embedding.widths()))),
        ("made for", Some(embedding.family().unwrap_or_else(|| "not known".into()))),
        ("trained as", embedding.word.clone()),
        ("steps", embedding.step.map(|step| step.to_string())),
        ("trained with", embedding.trained_with.clone()),
    ];
    let told = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    told.map(|(name, value)| vec![name.to_string(), super::plain(&value)]).collect()
}

/// The same for programs.
pub fn object(embedding: &TextualInversion) -> Value {
    json!({
        "vectors": embedding.count(),
        "widths": embedding.towers.iter().map(|vectors| vectors.width).collect::<Vec<_>>(),
        "family": embedding.family(),
        "word": embedding.word,
        "steps": embedding.step,
        "trained_with": embedding.trained_with,
    })
}
