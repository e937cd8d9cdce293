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

    /// Reads an infotext. Never fails: without a line of settings it is all prompt.
    pub fn parse(text: &str) -> Infotext {
        let mut lines: Vec<&str> = text.trim().lines().collect();
        // A prompt may hold "name: value" too; a last line of settings has at least three, as A1111 tells them apart.
        let pairs = lines.last().map(|last| pairs(last)).filter(|p| p.len() >= 3).unwrap_or_default();
        if !pairs.is_empty() {
            lines.pop();
        }
        let negative = lines.iter().position(|line| line.starts_with(NEGATIVE.trim_end()));
        let (positive, rest) = lines.split_at(negative.unwrap_or(lines.len()));
        let rest = rest.join("\n");
        Infotext {
            prompt: positive.join("\n"),
            negative_prompt: rest.strip_prefix(NEGATIVE.trim_end()).unwrap_or("").trim_start().to_string(),
            pairs,
        }
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

/// A value with what would end it in quotes, as JSON has them.
fn quoted(value: &str) -> String {
    match value.contains([',', ':', '\n', '"']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.to_string(),
    }
}

/// The `Name: value` pairs of a line; empty where the line is not made of them.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once(':') else { return Vec::new() };
        let after = after.trim_start();
        let name_is_plain =
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || " _-/".contains(c));
        if !name_is_plain {
            return Vec::new();
        }
        let mut json = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let (value, end) = match after.starts_with('"').then(|| json.next()) {
            Some(Some(Ok(value))) => (value, json.byte_offset()),
            _ => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end().to_string(), end)
            }
        };
        found.push((name.trim().to_string(), value));
        rest = after[end..].trim_start_matches(',').trim_start();
    }
    found
}
