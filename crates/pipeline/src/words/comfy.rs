//! ComfyUI's weights: round brackets alone, and a number said takes the place of those around it (ComfyUI 0.3,
//! comfy/sd1_clip.py `token_weights`).

use super::Weighted;

/// Brackets deeper than this are text: no prompt has so many, and the stack is not the prompt's.
const DEEPEST: usize = 256;

/// A text as pieces, each with its weight. Only `\(` and `\)` are escapes; a bracket that is never closed is text.
pub fn weights(text: &str) -> Vec<Weighted> {
    let mut found = Vec::new();
    inner(&text.replace("\\)", "\0\u{1}").replace("\\(", "\0\u{2}"), 1.0, DEEPEST, &mut found);
    for piece in &mut found {
        piece.text = piece.text.replace("\0\u{1}", ")").replace("\0\u{2}", "(");
    }
    found
}

fn inner(text: &str, weight: f64, deeper: usize, found: &mut Vec<Weighted>) {
    for piece in pieces(text) {
        let inside = piece.strip_prefix('(').and_then(|piece| piece.strip_suffix(')'));
        let Some(inside) = inside.filter(|_| deeper > 0) else {
            found.push(Weighted::new(piece, weight));
            continue;
        };
        let said = inside.rsplit_once(':').filter(|(before, _)| !before.is_empty());
        let said = said.and_then(|(before, number)| Some((before, number.trim().parse::<f64>().ok()?)));
        match said.filter(|(_, number)| number.is_finite()) {
            Some((before, number)) => inner(before, number, deeper - 1, found),
            None => inner(inside, weight * 1.1, deeper - 1, found),
        }
    }
}

/// Brackets with what is in them, and what stands between. As there, a closing bracket too many counts against the next
/// opening one.
fn pieces(text: &str) -> Vec<&str> {
    let (mut found, mut from, mut depth) = (Vec::new(), 0, 0i64);
    for (at, mark) in text.char_indices() {
        match mark {
            '(' => {
                if depth == 0 && from < at {
                    found.push(&text[from..at]);
                    from = at;
                }
                depth += 1;
            }
            ')' => {
                depth -= 1;
                if depth == 0 {
                    found.push(&text[from..=at]);
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    if from < text.len() {
        found.push(&text[from..]);
    }
    found
}
