//! The files of a tokenizer folder, and which of them transformers believes.

use super::{object, tokenizer_error};
use crate::error::Result;
use calotype_models::layout::words;
#[cfg(not(target_arch = "wasm32"))]
use serde_json::json;
use serde_json::{Map, Value};
use tokenizers::models::bpe::Vocab;

/// The contents of a tokenizer folder's files; those that are absent are `None`.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles {
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
    /// `added_tokens.json`: words that were added, before transformers 4.34.
    pub added_tokens: Option<Vec<u8>>,
}

impl TokenizerFiles {
    /// Takes what is there: `file` gets a name in the tokenizer's folder, which errors call `place`.
    pub fn read(place: &str, file: impl Fn(&str) -> Option<Vec<u8>>) -> Result<TokenizerFiles> {
        let files = TokenizerFiles {
            tokenizer: file(words::WHOLE),
            vocab: file(words::VOCABULARY),
            merges: file(words::MERGES),
            config: file(words::SETTINGS),
            special_tokens_map: file(words::SPECIAL),
            added_tokens: file(words::ADDED),
        };
        if files.tokenizer.is_none() && (files.vocab.is_none() || files.merges.is_none()) {
            let [whole, vocabulary, merges] = [words::WHOLE, words::VOCABULARY, words::MERGES];
            let reason =
                format!("neither {whole} nor {vocabulary} and {merges} are there; download the folder again");
            return Err(tokenizer_error(place, reason));
        }
        Ok(files)
    }

    /// The files of CLIP's own tokenizer, as the published folders have them, each with its name.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn clip(padding: &str) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let (vocab, merges) = super::clip_vocabulary(super::CLIP_MERGES)?;
        let vocab: std::collections::BTreeMap<_, _> =
            vocab.into_iter().map(|(token, id)| (id, token)).collect();
        let vocab: Map<String, Value> = vocab.into_iter().map(|(id, token)| (token, id.into())).collect();
        let lines = merges.iter().map(|(a, b)| format!("{a} {b}\n"));
        let merges = ["#version: 0.2\n".into()].into_iter().chain(lines).collect::<String>();
        let token = |content: &str| json!({ "content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false });
        let (start, end) = (token("<|startoftext|>"), token("<|endoftext|>"));
        let special = json!({ "bos_token": start, "eos_token": end, "pad_token": padding, "unk_token": end });
        let settings = json!({
            "add_prefix_space": false,
            "bos_token": start,
            "do_lower_case": true,
            "eos_token": end,
            "errors": "replace",
            "model_max_length": super::DEFAULT_LENGTH,
            "pad_token": padding,
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": end,
        });
        let text = |json: Value| json.to_string().into_bytes();
        Ok(vec![
            (words::VOCABULARY, text(vocab.into())),
            (words::MERGES, merges.into_bytes()),
            (words::SETTINGS, text(settings)),
            (words::SPECIAL, text(special)),
        ])
    }

    /// Ids by token, and merges, best first.
    pub(super) fn vocabulary(&self) -> Result<(Vocab, Vec<(String, String)>)> {
        if let Some(bytes) = &self.tokenizer {
            let file = words::WHOLE;
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
        let vocab = self.vocab.as_deref().ok_or_else(|| missing(words::VOCABULARY))?;
        let merges = self.merges.as_deref().ok_or_else(|| missing(words::MERGES))?;
        let text = std::str::from_utf8(merges).map_err(|e| tokenizer_error(words::MERGES, e.to_string()))?;
        let file = words::VOCABULARY;
        Ok((ids(file, &object(file, vocab)?)?, merges_of(text, words::MERGES)?))
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

/// The bytes in the order of CLIP's ids: visible Latin-1 characters first (OpenAI's simple_tokenizer.py).
pub(super) fn byte_order() -> impl Iterator<Item = u8> {
    let visible = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
    (0..=255u8).filter(visible).chain((0..=255u8).filter(move |byte| !visible(byte)))
}

/// The printable stand-in of each byte in the order of CLIP's ids: visible Latin-1 characters stand for themselves,
/// the others for the code points from 256 on.
pub(super) fn byte_symbols() -> Vec<String> {
    const VISIBLE: usize = 188;
    let shown = byte_order().take(VISIBLE).map(char::from);
    shown.chain((256u32..).filter_map(char::from_u32)).take(256).map(String::from).collect()
}
