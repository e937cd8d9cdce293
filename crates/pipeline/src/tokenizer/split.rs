//! A prompt cut into tokens: words that were added to a vocabulary are found as `tokenizers`' `AddedVocabulary` finds
//! them, the rest is cut by CLIP's rule. By hand: regular expressions, their engine and its tables, would be a sixth of
//! what the page downloads.

use super::added::Token;
use super::files::{byte_order, byte_symbols};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizer::Range as Part;
use tokenizers::pattern::Pattern;
use tokenizers::{Model, NormalizedString, Offsets, Result};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// A token in a prompt.
pub(super) struct Piece {
    pub id: u32,
    /// As it stands in the vocabulary, or, of an added word, in the prompt.
    pub text: String,
    /// The bytes of the prompt that it stands for.
    pub at: Range<usize>,
}

/// A vocabulary with the words that were added to it.
pub(super) struct Splitter {
    bpe: Rc<BPE>,
    /// The printable stand-in of each byte.
    symbols: [String; 256],
    added: Vec<(Token, u32)>,
    /// Those that are looked for before the text is normalised, and those after it.
    sought: [Sought; 2],
    /// Whether special tokens in a prompt are text like any other.
    split_special: bool,
}

/// Words to look for by their first characters, longer ones first, each with its place in [`Splitter::added`].
#[derive(Default)]
struct Sought(BTreeMap<char, Vec<(String, usize)>>);

impl Sought {
    fn put(&mut self, word: String, index: usize) {
        let Some(first) = word.chars().next() else { return };
        let same = self.0.entry(first).or_default();
        same.push((word, index));
        same.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    }

    /// The longest word that `text` begins with: its length and place.
    fn at(&self, text: &str) -> Option<(usize, usize)> {
        let words = self.0.get(&text.chars().next()?)?;
        words.iter().find(|(word, _)| text.starts_with(word)).map(|(word, index)| (word.len(), *index))
    }
}

impl Splitter {
    /// A word without an id of its own gets the next one.
    pub fn new(bpe: BPE, tokens: &[Token], split_special: bool) -> Result<Self> {
        let mut symbols = [const { String::new() }; 256];
        for (symbol, byte) in byte_symbols().into_iter().zip(byte_order()) {
            symbols[usize::from(byte)] = symbol;
        }
        let mut splitter =
            Self { bpe: Rc::new(bpe), symbols, added: Vec::new(), sought: Default::default(), split_special };
        for token in tokens.iter().filter(|token| !token.content.is_empty()) {
            splitter.add(token);
        }
        splitter.seek()?;
        Ok(splitter)
    }

    /// The same with words that have ids of their own.
    pub fn with(&self, words: &[(String, u32)]) -> Result<Self> {
        let (bpe, symbols, split_special) = (Rc::clone(&self.bpe), self.symbols.clone(), self.split_special);
        let mut added = self.added.clone();
        added.retain(|(known, _)| !words.iter().any(|(word, _)| *word == known.content));
        let token = |word: &str| Token { special: false, ..Token::plain(word) };
        added.extend(words.iter().map(|(word, id)| (token(word), *id)));
        let mut splitter = Self { bpe, symbols, added, sought: Default::default(), split_special };
        splitter.seek()?;
        Ok(splitter)
    }

    /// Has what was added looked for.
    fn seek(&mut self) -> Result<()> {
        for (index, (token, _)) in self.added.iter().enumerate() {
            let mut word = NormalizedString::from(&*token.content);
            if token.is_normalized() {
                normalize(&mut word)?;
            }
            self.sought[usize::from(token.is_normalized())].put(word.get().into(), index);
        }
        Ok(())
    }

    fn add(&mut self, token: &Token) {
        if let Some((known, _)) = self.added.iter_mut().find(|(known, _)| known.content == token.content) {
            let special = known.special || token.special;
            *known = Token { special, ..token.clone() };
            return;
        }
        let own = self.bpe.get_vocab_size() as u32;
        let next = self.added.iter().map(|(_, id)| id + 1).fold(own, u32::max);
        let id = self.bpe.token_to_id(&token.content).unwrap_or(next);
        self.added.push((token.clone(), id));
    }

    pub fn id(&self, word: &str) -> Option<u32> {
        let added = self.added.iter().find(|(token, _)| token.content == word);
        added.map(|(_, id)| *id).or_else(|| self.bpe.token_to_id(word))
    }

    pub fn word(&self, id: u32) -> Option<String> {
        let added = self.added.iter().find(|(_, known)| *known == id);
        added.map(|(token, _)| token.content.clone()).or_else(|| self.bpe.id_to_token(id))
    }

    /// The tokens of a prompt, in its order.
    pub fn pieces(&self, prompt: &str) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let [before, after] = &self.sought;
        for (mut text, added) in self.cut(&prompt.into(), before) {
            if let Some(id) = added {
                pieces.push(of_added(id, &text));
                continue;
            }
            normalize(&mut text)?;
            for (text, added) in self.cut(&text, after) {
                match added {
                    Some(id) => pieces.push(of_added(id, &text)),
                    None => self.encode(&text, &mut pieces)?,
                }
            }
        }
        Ok(pieces)
    }

    /// A text cut around the words that were added, with their ids.
    fn cut(&self, text: &NormalizedString, sought: &Sought) -> Vec<(NormalizedString, Option<u32>)> {
        let whole = text.get();
        let (mut parts, mut done, mut at) = (Vec::new(), 0, 0);
        while let Some(first) = whole[at..].chars().next() {
            let Some((len, index)) = sought.at(&whole[at..]) else {
                at += first.len_utf8();
                continue;
            };
            let (mut start, mut stop) = (at, at + len);
            at = stop;
            let (token, id) = &self.added[index];
            let inside = whole[..start].ends_with(in_a_word) || whole[stop..].starts_with(in_a_word);
            if self.split_special && token.special || token.single_word && inside {
                continue;
            }
            if token.lstrip {
                start = whole[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                stop = whole.len() - whole[stop..].trim_start().len();
            }
            parts.extend((done < start).then_some((done..start, None)));
            parts.push((start..stop, Some(*id)));
            done = stop;
        }
        parts.extend((done < whole.len()).then_some((done..whole.len(), None)));
        let slice = |(at, id): (Range<usize>, _)| Some((text.slice(Part::Normalized(at))?, id));
        parts.into_iter().filter_map(slice).collect()
    }

    /// Adds the tokens of a text without added words.
    fn encode(&self, text: &NormalizedString, pieces: &mut Vec<Piece>) -> Result<()> {
        for word in words(text.get()) {
            let bytes = &text.get().as_bytes()[word.clone()];
            let symbols: String = bytes.iter().map(|byte| &*self.symbols[*byte as usize]).collect();
            for token in self.bpe.tokenize(&symbols)? {
                let byte = |offset: usize| word.start + symbols[..offset].chars().count();
                let whole = whole_characters(text.get(), byte(token.offsets.0)..byte(token.offsets.1));
                let at = text.convert_offsets(Part::Normalized(whole)).unwrap_or_default();
                let from = text.offsets_original().0;
                pieces.push(Piece { id: token.id, text: token.value, at: from + at.start..from + at.end });
            }
        }
        Ok(())
    }
}

fn of_added(id: u32, text: &NormalizedString) -> Piece {
    let (start, end) = text.offsets_original();
    Piece { id, text: text.get().into(), at: start..end }
}

/// Composed (NFC), white space to single blanks, lowercased character by character.
fn normalize(text: &mut NormalizedString) -> Result<()> {
    text.nfc();
    text.replace(Blanks, " ")?;
    text.lowercase();
    Ok(())
}

/// Runs of white space.
struct Blanks;

impl Pattern for Blanks {
    fn find_matches(&self, inside: &str) -> Result<Vec<(Offsets, bool)>> {
        let mut runs: Vec<(Offsets, bool)> = Vec::new();
        for (start, character) in inside.char_indices() {
            let (blank, end) = (character.is_whitespace(), start + character.len_utf8());
            match runs.last_mut() {
                Some((run, same)) if *same == blank => run.1 = end,
                _ => runs.push(((start, end), blank)),
            }
        }
        Ok(runs)
    }
}

/// The special tokens as text.
const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Letter,
    Number,
    Other,
}

impl From<char> for Kind {
    fn from(character: char) -> Self {
        match character.general_category_group() {
            _ if character.is_whitespace() => Self::Blank,
            GeneralCategoryGroup::Letter => Self::Letter,
            GeneralCategoryGroup::Number => Self::Number,
            _ => Self::Other,
        }
    }
}

/// CLIP's words: a special token, an English contraction, letters, one digit, other visible characters (OpenAI's
/// simple_tokenizer.py: `<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`).
/// transformers cuts them once more by GPT-2's rule, which makes three words of a special token's text.
fn words(text: &str) -> Vec<Range<usize>> {
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(special) = SPECIAL.iter().find(|special| rest.starts_with(**special)) {
            for length in [2, special.len() - 4, 2] {
                words.push(at..at + length);
                at += length;
            }
            continue;
        }
        let kind = Kind::from(first);
        let contraction = CONTRACTIONS.iter().find(|short| rest.starts_with(**short));
        let length = match (contraction, kind) {
            (Some(short), _) => short.len(),
            (None, Kind::Number) => first.len_utf8(),
            (None, _) => rest.find(|c| Kind::from(c) != kind).unwrap_or(rest.len()),
        };
        if kind != Kind::Blank {
            words.push(at..at + length);
        }
        at += length;
    }
    words
}

/// What a regular expression's `\w` matches (Unicode Technical Standard 18, annex C).
fn in_a_word(character: char) -> bool {
    let joined = matches!(character, '\u{200c}' | '\u{200d}');
    let category = character.general_category();
    let digit = matches!(category, GeneralCategory::DecimalNumber | GeneralCategory::ConnectorPunctuation);
    let mark = character.general_category_group() == GeneralCategoryGroup::Mark;
    character.is_alphabetic() || mark || digit || joined
}

/// A range of a text's bytes, widened to where characters begin and end: a token may be a part of one.
fn whole_characters(text: &str, range: Range<usize>) -> Range<usize> {
    let start = (0..=range.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let end = (range.end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    start..end
}
