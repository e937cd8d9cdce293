//! Words that are their own token: the special ones, and those that were added to a vocabulary, as transformers 5 finds
//! them in a folder (`PreTrainedTokenizerBase._from_pretrained`) and gives them to the tokenizer (`TokenizersBackend`).

use super::files::TokenizerFiles;
use super::{object, tokenizer_error};
use crate::error::Result;
use calotype_models::layout::words;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A token and how it is looked for in a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub content: String,
    /// Whether it is looked for after normalisation (so that its capitals do not matter) or before; before for special
    /// tokens that do not say.
    pub normalized: Option<bool>,
    pub lstrip: bool,
    pub rstrip: bool,
    pub single_word: bool,
    pub special: bool,
    /// Whether a file gave these flags, not just a string.
    pub declared: bool,
}

impl Token {
    pub fn plain(content: &str) -> Self {
        let (lstrip, rstrip, single_word) = (false, false, false);
        let content = content.into();
        Self { content, normalized: None, lstrip, rstrip, single_word, special: true, declared: false }
    }

    /// From a string, or from an object with the flags.
    fn parse(value: &Value) -> Option<Self> {
        if let Some(content) = value.as_str() {
            return Some(Self::plain(content));
        }
        let flag = |name: &str| value.get(name).and_then(Value::as_bool);
        Some(Self {
            normalized: flag("normalized"),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            single_word: flag("single_word").unwrap_or(false),
            special: flag("special").unwrap_or(false),
            declared: true,
            ..Self::plain(value.get("content")?.as_str()?)
        })
    }

    pub fn is_normalized(&self) -> bool {
        self.normalized.unwrap_or(!self.special)
    }

    /// As `AddedToken` compares in Python: strings equal none with flags.
    fn equals(&self, other: &Self) -> bool {
        let flags = |t: &Self| (t.is_normalized(), t.lstrip, t.rstrip, t.single_word, t.special, t.declared);
        self.content == other.content && (!self.declared && !other.declared || flags(self) == flags(other))
    }
}

/// The roles of special tokens, in the order in which transformers adds them.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
pub(super) const BOS: usize = 0;
pub(super) const EOS: usize = 1;
pub(super) const UNK: usize = 2;
pub(super) const PAD: usize = 4;

/// Special tokens by role, then by names of the model's own.
#[derive(Clone, Debug)]
pub(super) struct Specials(Vec<Option<Token>>);

impl Default for Specials {
    /// `CLIPTokenizer`'s own, for files that name none.
    fn default() -> Self {
        let mut roles = vec![None; ROLES.len()];
        for role in [BOS, EOS, UNK, PAD] {
            let content = if role == BOS { "<|startoftext|>" } else { "<|endoftext|>" };
            roles[role] = Some(Token::plain(content));
        }
        Self(roles)
    }
}

impl Specials {
    /// The content of a role that CLIP's tokenizer always has.
    pub fn content(&self, role: usize) -> &str {
        self.0[role].as_ref().map_or("", |token| &token.content)
    }

    pub fn set(&mut self, role: usize, token: Token) {
        self.0[role] = Some(token);
    }

    pub fn each(&mut self, change: impl FnMut(&mut Token)) {
        self.0.iter_mut().flatten().for_each(change);
    }
}

/// What the JSON files say besides the vocabulary.
#[derive(Default)]
pub(super) struct WordRules {
    pub specials: Specials,
    /// Listed with ids, in their order. The ids themselves transformers passes over: who comes first is numbered first.
    pub listed: Vec<Token>,
    /// Special without a role.
    pub extra: Vec<Token>,
    pub max_len: Option<usize>,
    /// Whether padding, and what is cut off, stand at the left.
    pub left: [bool; 2],
    /// Whether special tokens in a prompt are text like any other.
    pub split: bool,
}

impl WordRules {
    /// All tokens to add, in order. One that is there already is not added again, unless it is once a bare string and
    /// once declared, or declared with other flags: the last one then has the last word.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens = self.listed.clone();
        let special = self.specials.0.iter().flatten().chain(&self.extra);
        for token in special {
            let listed = self.listed.iter().any(|known| known.content == token.content);
            if !listed && !tokens.iter().any(|known| known.equals(token)) {
                tokens.push(token.clone());
            }
        }
        let in_a_role =
            |content: &str| self.specials.0.iter().flatten().any(|token| token.content == content);
        for token in &mut tokens {
            token.special |= in_a_role(&token.content);
        }
        tokens
    }
}

impl TokenizerFiles {
    /// Tokens and length. With `added_tokens_decoder` in the configuration (transformers 4.34 and later), that is the
    /// list of tokens, and no other file is looked at; before, `special_tokens_map.json` went before the configuration,
    /// and `added_tokens.json` and `tokenizer.json` listed the tokens.
    pub(super) fn settings(&self) -> Result<WordRules> {
        let read = |file: &str, bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => object(file, bytes),
            None => Ok(Map::new()),
        };
        let (config_file, map_file) = (words::SETTINGS, words::SPECIAL);
        let mut config = read(config_file, &self.config)?;
        let tokenizer = read(words::WHOLE, &self.tokenizer)?;
        let mut extra = tokens(config_file, &config, "extra_special_tokens")?;
        if extra.is_empty() {
            extra = tokens(config_file, &config, "additional_special_tokens")?;
        }
        let mut by_id = BTreeMap::new();
        let decoder = config.get("added_tokens_decoder").is_some_and(|list| !list.is_null());
        if !decoder {
            let map = read(map_file, &self.special_tokens_map)?;
            let more = tokens(map_file, &map, "extra_special_tokens")?;
            extra.extend(
                more.into_iter()
                    .filter(|token| !extra.iter().any(|known| known.equals(token)))
                    .collect::<Vec<_>>(),
            );
            if extra.is_empty() {
                extra = tokens(map_file, &map, "additional_special_tokens")?;
            }
            for (name, mut value) in map.into_iter().filter(|(name, _)| name.ends_with("_token")) {
                if let Value::Object(flags) = &mut value {
                    flags.insert("special".into(), true.into());
                }
                config.insert(name, value);
            }
        }
        let specials = roles(&config)?;
        if let Some(Value::Object(list)) = config.get("added_tokens_decoder").filter(|_| decoder) {
            for (id, value) in list {
                by_id.insert(number(config_file, id, id.parse().ok())?, token(config_file, id, value)?);
            }
        } else {
            let special = |content: &str| {
                specials.iter().any(|(_, token)| token.content == content)
                    || extra.iter().any(|token| token.content == content)
            };
            for (content, id) in read(words::ADDED, &self.added_tokens)? {
                let special = special(&content);
                let token =
                    Token { special, normalized: Some(!special), declared: true, ..Token::plain(&content) };
                by_id.insert(number(words::ADDED, &content, id.as_u64())?, token);
            }
            for value in tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
                let id = number(words::WHOLE, &value.to_string(), value.get("id").and_then(Value::as_u64))?;
                by_id.insert(id, token(words::WHOLE, "added_tokens", value)?);
            }
        }
        let listed: Vec<Token> = by_id.into_values().collect();
        let mut all = Specials::default();
        for (name, token) in specials {
            let token = listed.iter().rfind(|l| l.content == token.content).cloned().unwrap_or(token);
            match ROLES.iter().position(|role| *role == name) {
                Some(role) => all.set(role, token),
                None => all.0.push(Some(token)),
            }
        }
        // transformers writes 1e30 for "no limit".
        let length =
            config.get("model_max_length").and_then(Value::as_f64).filter(|n| (0.0..1e6).contains(n));
        let left = [("padding_side", "padding"), ("truncation_side", "truncation")].map(|(side, part)| {
            let of_file = || tokenizer.get(part)?.get("direction");
            let side = config.get(side).or_else(of_file).and_then(Value::as_str);
            side.is_some_and(|side| side.eq_ignore_ascii_case("left"))
        });
        let split = config.get("split_special_tokens").and_then(Value::as_bool).unwrap_or(false);
        Ok(WordRules { specials: all, listed, extra, max_len: length.map(|n| n as usize), left, split })
    }
}

/// The special tokens that a configuration names, by role or name.
fn roles(config: &Map<String, Value>) -> Result<Vec<(String, Token)>> {
    let mut found = Vec::new();
    for (name, value) in config.iter().filter(|(name, value)| name.ends_with("_token") && !value.is_null()) {
        match Token::parse(value) {
            Some(token) => found.push((name.clone(), token)),
            None if ROLES.contains(&&**name) => return Err(no_token(words::SETTINGS, name, value)),
            // `add_bos_token` is none.
            None => {}
        }
    }
    Ok(found)
}

/// A list of tokens, or a map of them.
fn tokens(file: &str, json: &Map<String, Value>, name: &str) -> Result<Vec<Token>> {
    let values: Vec<&Value> = match json.get(name) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(Value::Object(map)) => map.values().collect(),
        _ => Vec::new(),
    };
    values.into_iter().map(|value| token(file, name, value)).collect()
}

fn token(file: &str, name: &str, value: &Value) -> Result<Token> {
    Token::parse(value).ok_or_else(|| no_token(file, name, value))
}

fn no_token(file: &str, name: &str, value: &Value) -> crate::Error {
    tokenizer_error(
        file,
        format!("{name} = {value} is not a token: a string or an object with \"content\" is"),
    )
}

fn number(file: &str, of: &str, id: Option<u64>) -> Result<u64> {
    id.ok_or_else(|| tokenizer_error(file, format!("the id of {of:?} is not a number")))
}
