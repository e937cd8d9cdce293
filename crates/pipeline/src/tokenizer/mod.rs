//! Words to ids: CLIP's byte pair encoding (Radford et al. 2021, arXiv 2103.00020), exactly as diffusers' pipelines
//! have it from transformers' `CLIPTokenizer`: composed (NFC), white space to single blanks, lowercased character by
//! character, split into words, letters as bytes; then cut and padded to the length that the text encoder takes.

mod files;

pub use files::Files;

use crate::error::{Error, Result};
use files::{Settings, Special};
use serde_json::{Map, Value};
use std::io::Read;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as Splitters;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

/// What CLIP takes for a word: a special token, an English contraction, letters, one digit, other visible characters
/// (OpenAI's simple_tokenizer.py).
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// CLIP's context length, for folders whose tokenizer states none.
const DEFAULT_LENGTH: usize = 77;

/// The merges of the full CLIP tokenizer; assets/README.md says where they come from.
const CLIP_MERGES: &[u8] = include_bytes!("../../assets/clip_merges.txt.gz");

/// A prompt as ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Start, words, end, padding: exactly [`Tokenizer::max_len`] ids.
    pub ids: Vec<u32>,
    /// Ids before the padding, start and end included.
    pub len: usize,
    /// The part of the prompt that did not fit, for a warning.
    pub dropped: Option<String>,
}

/// CLIP's tokenizer with one model's vocabulary.
pub struct Tokenizer {
    words: tokenizers::Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    max_len: usize,
}

impl Tokenizer {
    /// Reads a tokenizer folder in the layout of the hub: `tokenizer.json`, or `vocab.json` and `merges.txt`; with
    /// `tokenizer_config.json` and `special_tokens_map.json` where they are.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_folder(folder: impl AsRef<std::path::Path>) -> Result<Tokenizer> {
        Tokenizer::from_bytes(&Files::read(folder.as_ref())?)
    }

    /// The same from the files' contents.
    pub fn from_bytes(files: &Files) -> Result<Tokenizer> {
        let (vocab, merges) = files.vocabulary()?;
        let settings = files.settings()?;
        Tokenizer::build(vocab, merges, settings)
    }

    /// The full CLIP tokenizer, as Stable Diffusion 1.x has it: padded with the end token.
    pub fn clip() -> Result<Tokenizer> {
        Tokenizer::clip_padded_with("<|endoftext|>")
    }

    /// The full CLIP tokenizer with another padding; Stable Diffusion 2.x and SDXL's second encoder take `"!"`.
    /// As in transformers the padding is a special token: wherever it stands in a prompt it is its own word.
    pub fn clip_padded_with(pad: &str) -> Result<Tokenizer> {
        let mut text = String::new();
        let unreadable = |e: std::io::Error| tokenizer_error("the embedded merges", e.to_string());
        flate2::read::GzDecoder::new(CLIP_MERGES).read_to_string(&mut text).map_err(unreadable)?;
        let merges = files::merges_of(&text, "the embedded merges")?;
        let symbols = files::byte_symbols();
        let whole = symbols.iter().map(|s| format!("{s}</w>"));
        let joined = merges.iter().map(|(a, b)| format!("{a}{b}"));
        let special = ["<|startoftext|>".to_string(), "<|endoftext|>".to_string()];
        let tokens = symbols.iter().cloned().chain(whole).chain(joined).chain(special);
        let vocab = tokens.zip(0..).collect();
        let mut specials = files::default_specials();
        for (_, special) in &mut specials {
            (special.normalized, special.declared) = (true, true);
        }
        specials[files::PAD].1 = Special::plain(pad);
        Tokenizer::build(vocab, merges, Settings { specials, added: Vec::new(), max_len: None })
    }

    fn build(vocab: Vocab, merges: Vec<(String, String)>, settings: Settings) -> Result<Tokenizer> {
        let Settings { specials, added, max_len } = settings;
        let max_len = max_len.unwrap_or(DEFAULT_LENGTH);
        let broken = |e: tokenizers::Error| tokenizer_error("vocab.json and merges.txt", e.to_string());
        let content = |which: usize| specials[which].1.content.as_str();
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .unk_token(content(files::UNK).into())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".into())
            .build()
            .map_err(broken)?;
        let blanks = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(broken)?;
        let normalizers: Vec<NormalizerWrapper> = vec![NFC.into(), blanks.into(), Lowercase.into()];
        let pattern = SplitPattern::Regex(WORDS.into());
        let split = Split::new(pattern, SplitDelimiterBehavior::Removed, true).map_err(broken)?;
        let splitters: Vec<PreTokenizerWrapper> =
            vec![split.into(), ByteLevel::new(false, true, true).into()];
        let mut words = tokenizers::Tokenizer::new(bpe);
        words.with_normalizer(Some(Normalizers::new(normalizers))).map_err(broken)?;
        words.with_pre_tokenizer(Some(Splitters::new(splitters)));
        let plain = added.iter().map(|token| AddedToken { special: false, ..token.into() });
        words.add_tokens(plain).map_err(broken)?;
        words.add_special_tokens(files::distinct(&specials)).map_err(broken)?;
        let id = |which: usize| {
            let unknown =
                || tokenizer_error("vocab.json", format!("the token {:?} has no id", content(which)));
            words.token_to_id(content(which)).ok_or_else(unknown)
        };
        let (bos, eos, pad) = (id(files::BOS)?, id(files::EOS)?, id(files::PAD)?);
        if max_len < 2 {
            let reason = format!("model_max_length {max_len} leaves no room for the start and the end");
            return Err(tokenizer_error("tokenizer_config.json", reason));
        }
        Ok(Tokenizer { words, bos, eos, pad, max_len })
    }

    /// Ids in an encoded prompt.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The id that starts every prompt.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// The id that ends every prompt; SD's text encoders pool the state at its first place.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The id that fills what is left.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The prompt as ids: start, at most `max_len - 2` words' ids, end, padding.
    pub fn encode(&self, prompt: &str) -> Result<Encoded> {
        let failed = |e: tokenizers::Error| tokenizer_error("the prompt", e.to_string());
        let encoding = self.words.encode(prompt, false).map_err(failed)?;
        let room = self.max_len - 2;
        let words = encoding.get_ids();
        let kept = words.len().min(room);
        let mut ids = Vec::with_capacity(self.max_len);
        ids.push(self.bos);
        ids.extend_from_slice(&words[..kept]);
        ids.push(self.eos);
        let len = ids.len();
        ids.resize(self.max_len, self.pad);
        let cut = encoding.get_offsets().get(room).map(|&(start, _)| start);
        let dropped = cut.map(|start| prompt.get(start..).unwrap_or(prompt).trim().to_string());
        Ok(Encoded { ids, len, dropped })
    }
}

/// A special token as the `tokenizers` crate has it.
impl From<&Special> for AddedToken {
    fn from(special: &Special) -> AddedToken {
        AddedToken::from(special.content.as_str(), true)
            .normalized(special.normalized)
            .lstrip(special.lstrip)
            .rstrip(special.rstrip)
            .single_word(special.single_word)
    }
}

fn tokenizer_error(file: &str, reason: impl Into<String>) -> Error {
    Error::Tokenizer { file: file.into(), reason: reason.into() }
}

/// A JSON object from a file's bytes.
fn object(file: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(tokenizer_error(file, "a JSON object was expected")),
        Err(e) => {
            Err(tokenizer_error(file, format!("the JSON cannot be read ({e}); download the file again")))
        }
    }
}
