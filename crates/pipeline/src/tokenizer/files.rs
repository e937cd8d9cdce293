//! The files of a tokenizer folder, and which of them transformers believes.

use super::{object, tokenizer_error};
use crate::error::Result;
use serde_json::{Map, Value};
use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

/// The contents of a tokenizer folder's files; those that are absent are `None`.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `tokenizer.json`, which goes before the next two.
    pub tokenizer: Option<Vec<u8>>,
    /// `vocab.json`.
    pub vocab: Option<Vec<u8>>,
    /// `merges.txt`.
    pub merges: Option<Vec<u8>>,
    /// `tokenizer_config.json`.
    pub config: Option<Vec<u8>>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Vec<u8>>,
}

/// A special token and how it is looked for in a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Special {
    pub content: String,
    /// Whether it is looked for after normalisation (so that its capitals do not matter) or before.
    pub normalized: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub single_word: bool,
    /// Whether a file gave these flags, not just a string.
    pub declared: bool,
}

impl Special {
    pub fn plain(content: &str) -> Special {
        Special {
            content: content.into(),
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
            declared: false,
        }
    }

    /// From a string, or from an object with the flags.
    fn parse(value: &Value) -> Option<Special> {
        if let Some(content) = value.as_str() {
            return Some(Special::plain(content));
        }
        let flag = |name: &str, default: bool| value.get(name).and_then(Value::as_bool).unwrap_or(default);
        let content = value.get("content")?.as_str()?;
        Some(Special {
            normalized: flag("normalized", true),
            lstrip: flag("lstrip", false),
            rstrip: flag("rstrip", false),
            single_word: flag("single_word", false),
            declared: true,
            ..Special::plain(content)
        })
    }
}

/// The special tokens by role, in the order in which transformers adds them.
pub(super) type Specials = [(&'static str, Special); 4];
pub(super) const BOS: usize = 0;
pub(super) const EOS: usize = 1;
pub(super) const UNK: usize = 2;
pub(super) const PAD: usize = 3;

/// `CLIPTokenizer`'s own, for files that name none.
pub(super) fn default_specials() -> Specials {
    let end = || Special::plain("<|endoftext|>");
    [
        ("bos_token", Special::plain("<|startoftext|>")),
        ("eos_token", end()),
        ("unk_token", end()),
        ("pad_token", end()),
    ]
}

/// The tokens to add: a token of two roles once, unless one role declares flags and the other is a bare string, which
/// then has the last word.
pub(super) fn distinct(specials: &Specials) -> Vec<AddedToken> {
    let mut kept: Vec<&Special> = Vec::new();
    for (_, special) in specials {
        if !kept.iter().any(|k| k.content == special.content && k.declared == special.declared) {
            kept.push(special);
        }
    }
    let last = |i: usize| !kept[i + 1..].iter().any(|later| later.content == kept[i].content);
    (0..kept.len()).filter(|&i| last(i)).map(|i| kept[i].into()).collect()
}

/// What the JSON files say besides the vocabulary.
pub(super) struct Settings {
    pub specials: Specials,
    /// Words that were added to the vocabulary whole, in the order of their ids.
    pub added: Vec<Special>,
    pub max_len: Option<usize>,
}

impl Files {
    /// Reads what is there.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(folder: &std::path::Path) -> Result<Files> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(tokenizer_error(&path.display().to_string(), e.to_string())),
            }
        };
        let files = Files {
            tokenizer: read("tokenizer.json")?,
            vocab: read("vocab.json")?,
            merges: read("merges.txt")?,
            config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
        };
        if files.tokenizer.is_none() && (files.vocab.is_none() || files.merges.is_none()) {
            let reason =
                "neither tokenizer.json nor vocab.json and merges.txt are there; download the folder again";
            return Err(tokenizer_error(&folder.display().to_string(), reason));
        }
        Ok(files)
    }

    /// Ids by token, and merges, best first.
    pub(super) fn vocabulary(&self) -> Result<(Vocab, Vec<(String, String)>)> {
        if let Some(bytes) = &self.tokenizer {
            let file = "tokenizer.json";
            let json = object(file, bytes)?;
            let part = |name: &str| {
                let missing = || {
                    tokenizer_error(file, format!("model.{name} is missing: a BPE tokenizer was expected"))
                };
                json.get("model").and_then(|m| m.get(name)).ok_or_else(missing)
            };
            let no_map = || tokenizer_error(file, "model.vocab is not a map");
            let vocab = ids(file, part("vocab")?.as_object().ok_or_else(no_map)?)?;
            let no_list = || tokenizer_error(file, "model.merges is not a list of pairs");
            let merges = part("merges")?.as_array().ok_or_else(no_list)?;
            let pair = |merge: &Value| match merge {
                Value::String(text) => text.split_once(' ').map(|(a, b)| (a.to_string(), b.to_string())),
                Value::Array(two) => match two.as_slice() {
                    [Value::String(a), Value::String(b)] => Some((a.clone(), b.clone())),
                    _ => None,
                },
                _ => None,
            };
            let merges: Option<Vec<_>> = merges.iter().map(pair).collect();
            return Ok((vocab, merges.ok_or_else(no_list)?));
        }
        let missing =
            |file: &str| tokenizer_error(file, "the file is missing; download the tokenizer folder again");
        let vocab = self.vocab.as_deref().ok_or_else(|| missing("vocab.json"))?;
        let merges = self.merges.as_deref().ok_or_else(|| missing("merges.txt"))?;
        let text = std::str::from_utf8(merges).map_err(|e| tokenizer_error("merges.txt", e.to_string()))?;
        Ok((ids("vocab.json", &object("vocab.json", vocab)?)?, merges_of(text, "merges.txt")?))
    }

    /// Special tokens and length. Without `added_tokens_decoder` in the configuration, `special_tokens_map.json` goes
    /// before it; tokens that `added_tokens_decoder` or `tokenizer.json` list have the flags stated there.
    pub(super) fn settings(&self) -> Result<Settings> {
        let read = |file: &str, bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => object(file, bytes),
            None => Ok(Map::new()),
        };
        let config = read("tokenizer_config.json", &self.config)?;
        let map = read("special_tokens_map.json", &self.special_tokens_map)?;
        let tokenizer = read("tokenizer.json", &self.tokenizer)?;
        let listed: Vec<Special> = match (config.get("added_tokens_decoder"), tokenizer.get("added_tokens")) {
            (Some(Value::Object(by_id)), _) => {
                let mut by_id: Vec<_> =
                    by_id.iter().map(|(id, v)| (id.parse().unwrap_or(u32::MAX), v)).collect();
                by_id.sort_by_key(|(id, _)| *id);
                by_id.into_iter().filter_map(|(_, v)| Special::parse(v)).collect()
            }
            (None, Some(Value::Array(list))) => list.iter().filter_map(Special::parse).collect(),
            _ => Vec::new(),
        };
        let mut specials = default_specials();
        for (role, special) in &mut specials {
            let mapped = map.get(*role).filter(|_| !config.contains_key("added_tokens_decoder"));
            let Some(value) = mapped.or(config.get(*role)).filter(|v| !v.is_null()) else { continue };
            let unreadable =
                || tokenizer_error("tokenizer_config.json", format!("{role} = {value} is not a token"));
            *special = Special::parse(value).ok_or_else(unreadable)?;
        }
        for (_, special) in &mut specials {
            if let Some(flags) = listed.iter().find(|l| l.content == special.content) {
                *special = flags.clone();
            }
        }
        // transformers writes 1e30 for "no limit".
        let length =
            config.get("model_max_length").and_then(Value::as_f64).filter(|n| (0.0..1e6).contains(n));
        let in_a_role =
            |token: &Special| specials.iter().any(|(_, special)| special.content == token.content);
        let added = listed.into_iter().filter(|token| !in_a_role(token)).collect();
        Ok(Settings { specials, added, max_len: length.map(|n| n as usize) })
    }
}

fn ids(file: &str, map: &Map<String, Value>) -> Result<Vocab> {
    let entry = |(token, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let bad = || tokenizer_error(file, format!("the id of {token:?} is not a number"));
        id.map(|id| (token.clone(), id)).ok_or_else(bad)
    };
    map.iter().map(entry).collect()
}

/// Merges from lines of two tokens, after an optional `#version` line.
pub(super) fn merges_of(text: &str, file: &str) -> Result<Vec<(String, String)>> {
    let lines = text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    lines
        .map(|line| {
            let bad = || tokenizer_error(file, format!("the line {line:?} is not two tokens"));
            line.trim().split_once(' ').map(|(a, b)| (a.to_string(), b.to_string())).ok_or_else(bad)
        })
        .collect()
}

/// The printable stand-in of each byte in the order of CLIP's ids: visible Latin-1 characters stand for themselves,
/// the others for the code points from 256 on (OpenAI's simple_tokenizer.py).
pub(super) fn byte_symbols() -> Vec<String> {
    let visible = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
    let shown = (0..=255u8).filter(visible).map(char::from);
    let hidden =
        (0..=255u8).filter(|b| !visible(b)).zip(256u32..).filter_map(|(_, code)| char::from_u32(code));
    shown.chain(hidden).map(String::from).collect()
}
