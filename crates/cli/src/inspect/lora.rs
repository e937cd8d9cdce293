//! What a file is as a LoRA.

use calotype::Lora;
use calotype_weights::{Error, LoraFacts};
use std::collections::BTreeMap;
use std::path::Path;

/// What it is, where it is one.
pub fn facts(path: &Path) -> anyhow::Result<Option<LoraFacts>> {
    match Lora::open(path) {
        Ok(lora) => Ok(Some(pollster::block_on(lora.describe())?)),
        Err(error @ (Error::Lora { .. } | Error::BadAdapter { .. })) => Err(error.into()),
        // It is something else.
        Err(_) => Ok(None),
    }
}

/// The same in words, a line each.
pub fn rows(facts: &LoraFacts) -> Vec<Vec<String>> {
    let layers = |n: usize| if n == 1 { "layer" } else { "layers" };
    let counts = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(what, n)| format!("{what} ({n} {})", layers(*n))).collect::<Vec<_>>().join(", ")
    };
    let family = match (&facts.family, &facts.family_by) {
        (Some(family), Some(by)) => format!("{family} ({by})"),
        _ => "not known".into(),
    };
    let others = match (facts.others.len(), facts.others.keys().next()) {
        (n, Some(first)) => format!("{n} of its tensors, first {first}"),
        _ => String::new(),
    };
    let rows = [
        ("LoRA of kind", counts(&facts.kinds)),
        ("rank", facts.ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        ("alpha", facts.alphas.iter().map(f32::to_string).collect::<Vec<_>>().join(", ")),
        ("names", counts(&facts.naming)),
        ("changes", counts(&facts.components)),
        ("made for", family),
        ("trigger words", facts.trigger_words.join(", ")),
        ("brings words", facts.words.join(", ")),
        ("not used", others),
    ];
    let told = rows.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| vec![name.to_string(), super::plain(&value)]).collect()
}
