//! `calotype inspect`.

mod embedding;
mod file;
mod lora;
mod model;
mod picture;
mod prompt;
mod told;

use crate::args::InspectArgs;
use crate::device;
use crate::exit::Usage;
use calotype::{Precision, image};
use std::path::Path;

/// Prints what a model or a file of weights holds.
pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    if let Some(name) =
        args.model.as_deref().map(Path::new).filter(|name| image::names_picture(name) && name.is_file())
    {
        return picture::print(name, args.json);
    }
    let place = device::find(args.model.as_deref(), &args.hub, None, args.json)?;
    if let Some(prompt) = &args.prompt {
        return prompt::print(&place.open(Precision::F32)?, prompt, args);
    }
    match place.file() {
        Some(file) => file::print(file, place.license(), args),
        None if args.hashes => Err(Usage("--hashes is for a file: name one of the model's".into()).into()),
        None => model::print(&place.open(Precision::F32)?, place.license(), args.json),
    }
}

/// `859.5 M`, `132.1 k`.
fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// A text of a file's, without what would move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
