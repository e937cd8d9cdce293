//! What a file of weights is, told by its tensors.

use calotype::{FileKind, FileReport, UNetReport};
use calotype_weights::Checkpoint;
use serde_json::{Value, json};
use std::path::Path;

/// Looks at a file.
pub fn report(path: &Path) -> anyhow::Result<FileReport> {
    let checkpoint = Checkpoint::open(path).map_err(calotype::Error::from)?;
    Ok(pollster::block_on(FileReport::of(checkpoint))?)
}

/// What it is, in words.
fn what(report: &FileReport) -> String {
    let parts: Vec<&str> = report.contents.iter().map(|part| part.component).collect();
    match (&report.unet, report.kind) {
        (Some(unet), _) if parts.len() > 1 => format!("{}: {}", unet.purpose, parts.join(", ")),
        (Some(unet), _) => format!("{}, the unet alone", unet.purpose),
        (None, FileKind::Model) => format!("of a model, its {}", parts.join(" and ")),
        (None, kind) => kind.words().into(),
    }
}

/// How that was told, a line each.
pub fn facts(report: &FileReport) -> Vec<Vec<String>> {
    let mut facts = vec![("what it is", what(report))];
    if let Some(UNetReport { family, because, prediction, assumed, is_drawn, .. }) = &report.unet {
        facts.push(("family", format!("{family}: {because}")));
        let why = assumed.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        facts.push(("prediction type", format!("{}{why}", prediction.name())));
        if !is_drawn {
            facts.push(("drawn with", format!("no: {} are", calotype::DRAWN)));
        }
    }
    if report.averaged > 0 {
        let taken = if report.is_average { "taken: there are no others" } else { "left aside" };
        facts.push(("averaged weights", format!("{} tensors, {taken}", report.averaged)));
    }
    facts.into_iter().map(|(name, value)| vec![name.to_string(), value]).collect()
}

/// The same for programs.
pub fn object(report: &FileReport) -> Value {
    let unet = report.unet.as_ref();
    json!({
        "what": what(report),
        "components": report.contents.iter().map(|part| part.component).collect::<Vec<_>>(),
        "family": unet.map(|unet| unet.family.to_string()),
        "because": unet.map(|unet| &unet.because),
        "prediction_type": unet.map(|unet| unet.prediction.name()),
        "assumed": unet.and_then(|unet| unet.assumed.as_ref()),
        "drawn": unet.map(|unet| unet.is_drawn),
        "averaged_tensors": report.averaged,
    })
}
