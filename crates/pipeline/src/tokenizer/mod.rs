//! Words to ids: CLIP's byte pair encoding (Radford et al. 2021, arXiv 2103.00020), exactly as diffusers' pipelines
//! have it from transformers' `CLIPTokenizer`: composed (NFC), white space to single blanks, lowercased character by
//! character, split into words, letters as bytes; then cut and padded to the length that the text encoder takes.

mod added;
mod files;
mod split;

pub use files::TokenizerFiles;

use crate::error::{Error, Result};
use added::{Token, WordRules};
use calotype_models::layout::words;
use serde_json::{Map, Value};
use split::{Piece, Splitter};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use tokenizers::models::bpe::{BPE, Vocab};

/// CLIP's context length, for folders whose tokenizer states none.
const DEFAULT_LENGTH: usize = 77;

/// The merges of the full CLIP tokenizer, packed; assets/README.md says where they come from. None in a page, which is spared
/// 200 KB until it opens a file that takes them.
pub(crate) const CLIP_MERGES: &[u8] =
    if cfg!(target_arch = "wasm32") { &[] } else { include_bytes!("../../assets/clip_merges.txt.gz") };

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

impl Encoded {
    /// What was dropped in quotation marks: its beginning and its end, as much as a line has room for.
    pub fn quote(&self) -> Option<String> {
        const EACH: usize = 60;
        let dropped = self.dropped.as_ref()?;
        let starts = || dropped.char_indices().map(|(at, _)| at);
        Some(match (starts().nth(EACH), starts().nth_back(EACH)) {
            (Some(head), Some(tail)) if head < tail => {
                format!("\"{} … {}\"", &dropped[..head], &dropped[tail..])
            }
            _ => format!("\"{dropped}\""),
        })
    }
}

/// CLIP's tokenizer with one model's vocabulary.
pub struct Tokenizer {
    words: Vocabulary,
    /// The same with words that were added to the model, for prompts of plain text.
    plain: Option<Vocabulary>,
    bos: u32,
    eos: u32,
    pad: u32,
    max_len: usize,
    /// Whether padding, and what is cut off, stand at the left.
    left: [bool; 2],
}

/// Words, and those of them that were added with several vectors, with what they stand for.
struct Vocabulary {
    words: Splitter,
    several: BTreeMap<String, String>,
}

/// CLIP's ids by token, and its merges, best first.
fn clip_vocabulary(merges: &[u8]) -> Result<(Vocab, Vec<(String, String)>)> {
    let mut text = String::new();
    let unreadable = |e: std::io::Error| tokenizer_error("the embedded merges", e.to_string());
    flate2::read::GzDecoder::new(merges).read_to_string(&mut text).map_err(unreadable)?;
    let merges = files::merges_of(&text, "the embedded merges")?;
    let symbols = files::byte_symbols();
    let whole = symbols.iter().map(|s| format!("{s}</w>"));
    let joined = merges.iter().map(|(a, b)| format!("{a}{b}"));
    let special = ["<|startoftext|>".to_string(), "<|endoftext|>".to_string()];
    let tokens = symbols.iter().cloned().chain(whole).chain(joined).chain(special);
    Ok((tokens.zip(0..).collect(), merges))
}

impl Tokenizer {
    /// Reads the files of a tokenizer's folder in the layout of the hub: `tokenizer.json`, or `vocab.json` and
    /// `merges.txt`; with `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` where they are.
    pub fn from_bytes(files: &TokenizerFiles) -> Result<Tokenizer> {
        let (vocab, merges) = files.vocabulary()?;
        let settings = files.settings()?;
        Tokenizer::build(vocab, merges, settings)
    }

    /// The token that ends every prompt, and that Stable Diffusion 1.x pads with.
    pub const END: &str = "<|endoftext|>";

    /// The full CLIP tokenizer, as Stable Diffusion 1.x has it: padded with the end token.
    pub fn clip() -> Result<Tokenizer> {
        Tokenizer::clip_padded_with(Self::END)
    }

    /// The full CLIP tokenizer with another padding; Stable Diffusion 2.x and SDXL's second encoder take `"!"`.
    /// As in transformers the padding is a special token: wherever it stands in a prompt it is its own word.
    pub fn clip_padded_with(pad: &str) -> Result<Tokenizer> {
        Tokenizer::clip_of(CLIP_MERGES, pad)
    }

    /// The same of packed merges.
    pub(crate) fn clip_of(merges: &[u8], pad: &str) -> Result<Tokenizer> {
        let (vocab, merges) = clip_vocabulary(merges)?;
        let mut settings = WordRules::default();
        settings.specials.each(|token| (token.normalized, token.declared) = (Some(true), true));
        settings.specials.set(added::PAD, Token::plain(pad));
        Tokenizer::build(vocab, merges, settings)
    }

    fn build(vocab: Vocab, merges: Vec<(String, String)>, settings: WordRules) -> Result<Tokenizer> {
        let max_len = settings.max_len.unwrap_or(DEFAULT_LENGTH);
        let files = format!("{} and {}", words::VOCABULARY, words::MERGES);
        let broken = |e: tokenizers::Error| tokenizer_error(&files, e.to_string());
        let content = |role: usize| settings.specials.content(role);
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .unk_token(content(added::UNK).into())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".into())
            .build()
            .map_err(broken)?;
        let tokens = settings.tokens();
        let words = Splitter::new(bpe, &tokens, settings.split).map_err(broken)?;
        let id = |role: usize| {
            let unknown =
                || tokenizer_error(words::VOCABULARY, format!("the token {:?} has no id", content(role)));
            words.id(content(role)).ok_or_else(unknown)
        };
        let (bos, eos, pad) = (id(added::BOS)?, id(added::EOS)?, id(added::PAD)?);
        if max_len < 2 {
            let reason = format!("model_max_length {max_len} leaves no room for the start and the end");
            return Err(tokenizer_error(words::SETTINGS, reason));
        }
        let several = several(tokens.iter().map(|token| &*token.content));
        let words = Vocabulary { words, several };
        Ok(Tokenizer { words, plain: None, bos, eos, pad, max_len, left: settings.left })
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

    /// Has it pad with the end token.
    pub fn pad_with_end(&mut self) {
        self.pad = self.eos;
    }

    /// The prompt as ids: start, at most `max_len - 2` words' ids, end, padding.
    pub fn encode(&self, prompt: &str) -> Result<Encoded> {
        let vocabulary = self.plain.as_ref().unwrap_or(&self.words);
        let prompt = &*vocabulary.with_all_vectors(prompt)?;
        let words = vocabulary.pieces(prompt)?;
        let room = self.max_len - 2;
        let [_, cut_left] = self.left;
        let over = words.len().saturating_sub(room);
        let kept = if cut_left { over..words.len() } else { 0..words.len() - over };
        let kept: Vec<u32> = words[kept].iter().map(|word| word.id).collect();
        let (len, ids) = (kept.len() + 2, self.framed(&kept).0);
        let dropped = (over > 0).then(|| match cut_left {
            true => prompt.get(..words[over].at.start),
            false => prompt.get(words[room].at.start..),
        });
        let dropped = dropped.map(|part| part.unwrap_or(prompt).trim().to_string());
        Ok(Encoded { ids, len, dropped })
    }

    /// The ids of a text's words alone, however many.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let words = self.words.pieces(&self.words.with_all_vectors(text)?)?;
        Ok(words.iter().map(|word| word.id).collect())
    }

    /// Words' ids with start, end and padding; and the first one's place. At most `max_len - 2` of them.
    pub fn framed(&self, words: &[u32]) -> (Vec<u32>, usize) {
        let mut ids = vec![self.bos];
        ids.extend_from_slice(words);
        ids.push(self.eos);
        let padding = self.max_len - ids.len();
        ids.resize(self.max_len, self.pad);
        match self.left[0] {
            true => {
                ids.rotate_right(padding);
                (ids, padding + 1)
            }
            false => (ids, 1),
        }
    }

    /// The id of a comma that is its own word.
    pub fn comma(&self) -> Option<u32> {
        self.words.words.id(",</w>")
    }

    /// The word that an id stands for.
    pub fn word(&self, id: u32) -> Option<String> {
        self.words.words.word(id)
    }

    /// Adds a word to those of plain text, with the ids of its vectors (diffusers: `load_textual_inversion`): `word`, and
    /// `word_1`, `word_2`, … for those behind the first.
    pub fn add(&mut self, word: &str, ids: &[u32]) -> Result<()> {
        let name = |i: usize| if i == 0 { word.to_owned() } else { format!("{word}_{i}") };
        let added: Vec<(String, u32)> = ids.iter().enumerate().map(|(i, id)| (name(i), *id)).collect();
        let before = self.plain.as_ref().unwrap_or(&self.words);
        let failed = |e: tokenizers::Error| tokenizer_error("the word", e.to_string());
        let words = before.words.with(&added).map_err(failed)?;
        let mut all = before.several.clone();
        all.extend(several(added.iter().map(|(name, _)| &**name)));
        self.plain = Some(Vocabulary { words, several: all });
        Ok(())
    }
}

impl Vocabulary {
    fn pieces(&self, text: &str) -> Result<Vec<Piece>> {
        self.words.pieces(text).map_err(|e| tokenizer_error("the prompt", e.to_string()))
    }

    /// A prompt with all vectors of words that were added with several (diffusers: `maybe_convert_prompt`). As there, a
    /// word counts as soon as one of the prompt's tokens is it, and is then replaced by its letters, wherever they stand.
    fn with_all_vectors<'a>(&self, prompt: &'a str) -> Result<Cow<'a, str>> {
        let mut whole = Cow::Borrowed(prompt);
        if self.several.is_empty() {
            return Ok(whole);
        }
        let pieces = self.pieces(prompt)?;
        // In any order: diffusers' is that of a set.
        for word in pieces.iter().map(|piece| &piece.text).collect::<BTreeSet<_>>() {
            if let Some(all) = self.several.get(word) {
                whole = Cow::Owned(whole.replace(word, all));
            }
        }
        Ok(whole)
    }
}

/// The words that were added as `<word>`, `<word>_1`, `<word>_2`, …, and those behind one another.
fn several<'a>(tokens: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let known: BTreeSet<&str> = tokens.collect();
    let all = |word: &&str| {
        let more = (1..).map(|i| format!("{word}_{i}")).take_while(|next| known.contains(&**next));
        let all = more.fold(word.to_string(), |all, next| all + " " + &next);
        (all != **word).then(|| (word.to_string(), all))
    };
    known.iter().filter_map(all).collect()
}

fn tokenizer_error(file: &str, reason: impl Into<String>) -> Error {
    Error::Tokenizer { file: file.into(), reason: reason.into() }
}

/// A JSON object from a file's bytes.
fn object(file: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(tokenizer_error(file, "a JSON object was expected")),
        Err(e) => Err(tokenizer_error(
            file,
            match calotype_weights::mishap(bytes) {
                Some(what) => what.into(),
                None => format!("the JSON cannot be read ({e}); download the file again"),
            },
        )),
    }
}
