//! What a prompt means before it is tokens: weights, edits along the way, several prompts at once, chunks. Each program's
//! rules by its name ([`PromptStyle`]); the rules' sources stand in their files. All of it is plain text and numbers.

mod attention;
mod chunks;
mod comfy;
mod edits;
mod networks;
mod part;
mod parts;
mod weighing;

pub use attention::attention;
pub use chunks::{Added, Chunk, ChunkRules, Token, by_pieces, by_tokens};
pub use comfy::weights as comfy_weights;
pub use edits::{Timeline, timeline};
pub use networks::{Network, networks};
pub use part::PromptPart;
pub use parts::parts;
pub use weighing::{Weighing, emphasize, from_empty};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whose rules a prompt is read by. A text without any of their marks that is no longer than 75 tokens is the same in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptStyle {
    /// AUTOMATIC1111's: `(word:1.2)`, `[from:to:0.5]`, `[a|b]`, `BREAK`, `AND`, chunks of 75 tokens.
    #[default]
    A1111,
    /// The text as it stands, cut at the encoder's length (diffusers).
    Plain,
    /// ComfyUI's: `(word:1.2)`, chunks; weights reach from the empty prompt.
    Comfy,
}

impl PromptStyle {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A1111, Self::Plain, Self::Comfy];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::Plain => "plain",
            Self::Comfy => "comfy",
        }
    }
}

impl fmt::Display for PromptStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PromptStyle {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|style| style.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no prompt style is called \"{name}\": choose one of {names}")
        })
    }
}

/// What A1111 does with weights ("emphasis mode").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Emphasis {
    /// States times weights, then the mean put back.
    #[default]
    Original,
    /// States times weights.
    #[serde(rename = "No norm")]
    NoNorm,
    /// Brackets are read, and weights dropped.
    Ignore,
    /// Brackets are text.
    None,
}

impl Emphasis {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Original, Self::NoNorm, Self::Ignore, Self::None];

    /// A1111's name for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Original => "Original",
            Self::NoNorm => "No norm",
            Self::Ignore => "Ignore",
            Self::None => "None",
        }
    }
}

impl FromStr for Emphasis {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let given = name.replace('_', " ");
        let found = Self::ALL.into_iter().find(|mode| mode.label().eq_ignore_ascii_case(&given));
        found.ok_or_else(|| {
            format!("no emphasis mode is called \"{name}\": choose original, no_norm, ignore or none")
        })
    }
}

/// A piece of a prompt, and its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// The text without the marks.
    pub text: String,
    /// 1 where nothing is said.
    pub weight: f64,
}

impl Weighted {
    /// A piece with a weight.
    pub fn new(text: impl Into<String>, weight: f64) -> Self {
        Self { text: text.into(), weight }
    }

    /// Whether this is A1111's mark for "begin another chunk". In brackets it is not: its weight is another one then.
    pub fn is_break(&self) -> bool {
        self.text == attention::BREAK && self.weight == -1.0
    }
}
