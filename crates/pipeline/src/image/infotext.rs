//! A1111's infotext: the prompt, a line `Negative prompt: …`, and a last line of `Name: value` pairs
//! (modules/infotext_utils.py of stable-diffusion-webui).

use std::fmt;

const NEGATIVE: &str = "Negative prompt: ";

/// The settings of a picture: what another run needs to make it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infotext {
    /// The prompt; it may have several lines.
    pub prompt: String,
    /// The negative prompt; it may have several lines.
    pub negative_prompt: String,
    /// The other settings by A1111's names (`Steps`, `Sampler`, `Schedule type`, `CFG scale`, `Seed`, `Size`, `Model`,
    /// `Version`, …), in the order in which they are written.
    pub pairs: Vec<(String, String)>,
}

impl Infotext {
    /// The setting of this name, as it was written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Adds a setting at the end.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        self.pairs.push((name.into(), value.to_string()));
    }

    /// The seed, where it is a number.
    pub fn seed(&self) -> Option<u64> {
        self.get("Seed")?.parse().ok()
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Option<(usize, usize)> {
        let (width, height) = self.get("Size")?.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    }

    /// Reads an infotext as A1111 does. Never fails: without a line of settings it is all prompt.
    pub fn parse(text: &str) -> Infotext {
        Self::parse_all(text).0
    }

    /// The same, and what stands in the line of settings and is none.
    pub fn parse_all(text: &str) -> (Infotext, Vec<String>) {
        let mut lines: Vec<&str> = text.trim().split('\n').collect();
        // A prompt may hold "name: value" too; a last line of settings has at least three, as A1111 tells them apart.
        let (pairs, left) = match lines.last().map(|last| pairs(last)) {
            Some((pairs, left)) if pairs.len() >= 3 => {
                lines.pop();
                (pairs, left)
            }
            _ => Default::default(),
        };
        let mut texts = [String::new(), String::new()];
        let mut negative = 0;
        for line in lines.into_iter().map(str::trim) {
            let begins = line.strip_prefix(NEGATIVE.trim_end());
            negative |= usize::from(begins.is_some());
            let text = &mut texts[negative];
            let between = if text.is_empty() { "" } else { "\n" };
            *text += between;
            *text += begins.unwrap_or(line).trim();
        }
        let [prompt, negative_prompt] = texts;
        let (pairs, empty): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| pair.1.is_some());
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let left = left.into_iter().chain(empty.into_iter().map(|(name, _)| format!("{name}:"))).collect();
        (Infotext { prompt, negative_prompt, pairs }, left)
    }
}

impl fmt::Display for Infotext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prompt.trim())?;
        if !self.negative_prompt.trim().is_empty() {
            write!(f, "\n{NEGATIVE}{}", self.negative_prompt.trim())?;
        }
        let pairs: Vec<String> = self.pairs.iter().map(|(k, v)| format!("{k}: {}", quoted(v))).collect();
        write!(f, "\n{}", pairs.join(", "))
    }
}

/// A value with what would end it in quotes, as JSON has them; and what a reader would take for quotes or leave out.
fn quoted(value: &str) -> String {
    let plain = !value.contains([',', ':', '\n']) && !value.starts_with('"') && !value.is_empty();
    match plain && value.trim() == value {
        true => value.to_string(),
        false => serde_json::Value::from(value).to_string(),
    }
}

/// The `Name: value` pairs of a line, wherever they stand in it, and what stands between: A1111's regular expression
/// `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`. A value that is not there is none.
#[allow(clippy::type_complexity, reason = "two lists")]
fn pairs(line: &str) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let (mut found, mut left, mut skipped) = (Vec::new(), Vec::new(), String::new());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let Some((name, value, after)) = pair(rest) else {
            skipped.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        left.push(std::mem::take(&mut skipped));
        found.push((name.to_string(), value));
        rest = after;
    }
    left.push(skipped);
    let left = left.iter().map(|text| text.trim_matches([' ', ',']).to_string());
    (found, left.filter(|text| !text.is_empty()).collect())
}

/// One pair at the beginning of a text: its name, its value, and what follows.
fn pair(text: &str) -> Option<(&str, Option<String>, &str)> {
    let text = text.trim_start();
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    let end = text.find(|c: char| !(letter(c) || " -/".contains(c)))?;
    let (name, after) = text.split_at(end);
    let after = after.strip_prefix(':').filter(|_| name.starts_with(letter) && name.chars().count() > 1)?;
    let after = after.trim_start();
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(',');
    let closed = quote(after).filter(|length| ends(&after[*length..]));
    let length = closed.unwrap_or_else(|| after.find(',').unwrap_or(after.len()));
    let (value, rest) = after.split_at(length);
    let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let read = is_quoted.then(|| serde_json::from_str(value).ok()).flatten();
    let value = (!value.is_empty()).then(|| read.unwrap_or_else(|| value.to_string()));
    Some((name, value, rest.strip_prefix(',').unwrap_or(rest)))
}

/// How long a quoted text at the beginning is, with its quotes; one without anything in it is none.
fn quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    let inside = text.strip_prefix('"')?;
    let end = inside.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(at),
        _ => None,
    })?;
    (end > 0).then_some(end + 2)
}
