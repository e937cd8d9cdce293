//! Texts that prompts are put into, by name, of a file as A1111 keeps them (stable-diffusion-webui 1.10, modules/styles.py).

use crate::args::WordArgs;
use crate::exit::Usage;
use anyhow::Context;
use std::path::Path;

/// What `--style` names, in its order.
#[derive(Default)]
pub struct Styles(Vec<Style>);

#[derive(Clone)]
struct Style {
    name: String,
    prompt: String,
    negative_prompt: String,
}

impl Styles {
    /// Those that are asked for.
    pub fn read(words: &WordArgs) -> anyhow::Result<Self> {
        let Some(file) = &words.styles else { return Ok(Self::default()) };
        let there = || format!("--styles {}", file.display());
        let bytes = std::fs::read(file).with_context(|| format!("{}: cannot be read", there()))?;
        let all = styles(&bytes).with_context(there)?;
        // Of two of a name the later counts.
        let of = |name: &String| {
            all.iter().rfind(|style| style.name == *name).ok_or_else(|| missing(name, &all, file))
        };
        Ok(Self(words.style.iter().map(|name| of(name).cloned()).collect::<Result<_, _>>()?))
    }

    /// A prompt as the styles have it.
    pub fn prompt(&self, text: &str) -> String {
        self.0.iter().fold(text.into(), |text, style| merged(&style.prompt, &text))
    }

    /// A negative prompt as the styles have it.
    pub fn negative_prompt(&self, text: &str) -> String {
        self.0.iter().fold(text.into(), |text, style| merged(&style.negative_prompt, &text))
    }
}

fn missing(name: &str, all: &[Style], file: &Path) -> Usage {
    let names: Vec<&str> = all.iter().map(|style| &*style.name).collect();
    let has = if names.is_empty() { "none".into() } else { names.join(", ") };
    Usage(format!("--style {name}: --styles {} has no style of that name: it has {has}", file.display()))
}

/// All styles of a file. Rows without a name, and those whose name begins with #, are none.
fn styles(bytes: &[u8]) -> anyhow::Result<Vec<Style>> {
    let mut table = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    // The reader passes over a byte order mark.
    let names =
        table.headers().context("not a table of UTF-8 text, with commas between its columns")?.clone();
    let column = |name: &str| names.iter().position(|own| own == name);
    // Older files have the prompt as "text".
    let (name, prompt) = (column("name"), column("prompt").or(column("text")));
    let (Some(name), Some(prompt)) = (name, prompt) else {
        anyhow::bail!("the first line is to name the columns name, prompt and negative_prompt");
    };
    let negative_prompt = column("negative_prompt");
    let mut found = Vec::new();
    for row in table.records() {
        let row = row.context("not a table of UTF-8 text, with commas between its columns")?;
        let of = |column: Option<usize>| column.and_then(|at| row.get(at)).unwrap_or("").to_string();
        let style =
            Style { name: of(Some(name)), prompt: of(Some(prompt)), negative_prompt: of(negative_prompt) };
        found.extend(Some(style).filter(|style| !style.name.is_empty() && !style.name.starts_with('#')));
    }
    Ok(found)
}

/// A style with `{prompt}` in it takes the text there, another one stands behind it.
fn merged(style: &str, text: &str) -> String {
    if style.contains("{prompt}") {
        return style.replace("{prompt}", text);
    }
    let parts: Vec<&str> = [text.trim(), style.trim()].into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}
