//! A prompt: what was understood, part by part, turn by turn, chunk by chunk.

use super::plain;
use crate::args::InspectArgs;
use crate::text;
use calotype::words::{PromptPart, PromptStyle, Timeline, networks};
use calotype::{Framed, Model, Role};
use serde_json::{Value, json};

/// Prints what a model is told by a prompt.
pub fn print(model: &Model, prompt: &str, args: &InspectArgs) -> anyhow::Result<()> {
    let style = args.prompt_style.unwrap_or_default();
    let emphasis = args.emphasis.unwrap_or_default();
    let files = if style == PromptStyle::A1111 { networks(prompt).1 } else { Vec::new() };
    let (mut lines, mut parts) = (Vec::new(), Vec::new());
    for network in &files {
        lines.push(format!("asks for {} {}", network.kind, plain(network.name())));
    }
    let said = PromptPart::of(prompt, style, false, Timeline::of(args.steps));
    for (i, part) in said.iter().enumerate() {
        if said.len() > 1 || part.weight != 1.0 {
            lines.push(format!("part {} of {}, weight {}", i + 1, said.len(), part.weight));
        }
        let mut turns = Vec::new();
        for (until, words) in &part.turns {
            let chunks = model.framed(Role::Text, words, (style, emphasis))?;
            if part.turns.len() > 1 {
                lines.push(format!(
                    "up to evaluation {until} (of 0 to {}): {:?}",
                    args.steps.saturating_sub(1),
                    words
                ));
            }
            for (n, chunk) in chunks.iter().enumerate() {
                let room = chunk.ids.len() - 2;
                lines.push(format!("  chunk {}: {} of {room} tokens", n + 1, chunk.words));
                lines.push(format!("    {}", tokens(model, chunk)));
            }
            turns.push(json!({"until": until, "text": words, "chunks": chunks.iter().map(|c| object(model, c)).collect::<Vec<_>>()}));
        }
        parts.push(json!({"weight": part.weight, "turns": turns}));
    }
    if args.json {
        let files: Vec<Value> = files.iter().map(|n| json!({"kind": n.kind, "name": n.name()})).collect();
        return text::json(
            &json!({"prompt": prompt, "prompt_style": style, "asks_for": files, "parts": parts}),
        );
    }
    text::result(&lines.join("\n"))
}

/// The words of a chunk, each with its weight.
fn each<'a>(model: &'a Model, chunk: &'a Framed) -> impl Iterator<Item = (u32, String, f32)> + 'a {
    let padding = chunk.ids.len() - chunk.words - 2;
    let first = if chunk.ids[0] == model.tokenizer().bos() { 1 } else { padding + 1 };
    let place = first..first + chunk.words;
    let word = |id: u32| model.word(Role::Text, id).unwrap_or_else(|| id.to_string());
    place.map(move |i| (chunk.ids[i], word(chunk.ids[i]), chunk.weights[i]))
}

fn tokens(model: &Model, chunk: &Framed) -> String {
    let shown = |(_, word, weight): (u32, String, f32)| {
        let word = plain(word.strip_suffix("</w>").map_or(&format!("{word}-"), |word| word));
        if weight == 1.0 { word } else { format!("({word}:{weight})") }
    };
    each(model, chunk).map(shown).collect::<Vec<_>>().join(" ")
}

fn object(model: &Model, chunk: &Framed) -> Value {
    each(model, chunk).map(|(id, word, weight)| json!({"id": id, "word": word, "weight": weight})).collect()
}
