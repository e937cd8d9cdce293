//! A1111's weights: `(a)`, `[a]`, `(a:1.2)`, escapes and BREAK (stable-diffusion-webui 1.10, modules/prompt_parser.py
//! `parse_prompt_attention`).

use super::Weighted;

pub(super) const BREAK: &str = "BREAK";

/// What a round bracket multiplies with, and a square one divides by.
const STRONGER: f64 = 1.1;

/// A text as pieces of one weight each; never empty. Brackets nest and multiply; those left open count to the end; a closing
/// one without an opening is text.
pub fn attention(text: &str) -> Vec<Weighted> {
    let mut found: Vec<Weighted> = Vec::new();
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(mark) = rest.chars().next() {
        let mut taken = mark.len_utf8();
        match mark {
            '\\' => {
                let next = rest[1..].chars().next().filter(|c| "()[]\\".contains(*c));
                taken += next.map_or(0, char::len_utf8);
                found.push(Weighted::new(next.map(String::from).unwrap_or_default(), 1.0));
            }
            '(' => round.push(found.len()),
            '[' => square.push(found.len()),
            ')' if !round.is_empty() => multiply(&mut found, round.pop(), STRONGER),
            ']' if !square.is_empty() => multiply(&mut found, square.pop(), 1.0 / STRONGER),
            ':' => match weight(rest) {
                Some((weight, length)) if !round.is_empty() => {
                    taken = length;
                    multiply(&mut found, round.pop(), weight);
                }
                Some((_, length)) => {
                    taken = length;
                    found.push(Weighted::new(&rest[..length], 1.0));
                }
                None => found.push(Weighted::new(":", 1.0)),
            },
            ')' | ']' => found.push(Weighted::new(mark, 1.0)),
            _ => {
                taken = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                run(&mut found, &rest[..taken]);
            }
        }
        rest = &rest[taken..];
    }
    round.into_iter().for_each(|from| multiply(&mut found, Some(from), STRONGER));
    square.into_iter().for_each(|from| multiply(&mut found, Some(from), 1.0 / STRONGER));
    joined(found)
}

fn multiply(found: &mut [Weighted], from: Option<usize>, by: f64) {
    let from = from.unwrap_or(found.len());
    found[from..].iter_mut().for_each(|piece| piece.weight *= by);
}

/// `: 1.2 )` at the beginning of a text: the number, and how long all of it is. What no number can be made of (`:1.2.3)`, at
/// which the web UI stops) is text.
fn weight(text: &str) -> Option<(f64, usize)> {
    let inside = text[1..].trim_start();
    let unsigned = inside.strip_prefix(['+', '-']).unwrap_or(inside);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let after = unsigned[digits..].trim_start().strip_prefix(')')?;
    let number = &inside[..inside.len() - unsigned.len() + digits];
    Some((number.parse().ok()?, text.len() - after.len()))
}

/// Text without brackets, which BREAK may divide.
fn run(found: &mut Vec<Weighted>, text: &str) {
    let mut rest = text;
    while let Some(at) = word(rest, BREAK) {
        found.push(Weighted::new(rest[..at].trim_end(), 1.0));
        found.push(Weighted::new(BREAK, -1.0));
        rest = rest[at + BREAK.len()..].trim_start();
    }
    found.push(Weighted::new(rest, 1.0));
}

/// Where a word stands by itself in a text (as `\b` has it), the first time.
pub(super) fn word(text: &str, word: &str) -> Option<usize> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: &usize| {
        let before = text[..*at].chars().next_back().is_some_and(inside);
        let after = text[at + word.len()..].chars().next().is_some_and(inside);
        !before && !after
    };
    text.match_indices(word).map(|(at, _)| at).find(alone)
}

/// Neighbours of one weight as one.
fn joined(found: Vec<Weighted>) -> Vec<Weighted> {
    let mut joined: Vec<Weighted> = Vec::new();
    for piece in found {
        match joined.last_mut().filter(|last| last.weight == piece.weight) {
            Some(last) => last.text += &piece.text,
            None => joined.push(piece),
        }
    }
    if joined.is_empty() {
        joined.push(Weighted::new("", 1.0));
    }
    joined
}
