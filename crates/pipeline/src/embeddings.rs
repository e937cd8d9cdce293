//! Words that were added to a model, with vectors of their own (textual inversion), by their tokens and names.

use crate::words::Added;
use calotype_models::Role;
use std::collections::BTreeMap;
use std::ops::Range;

/// A word that was added.
pub(crate) struct Word {
    pub name: String,
    /// Its tokens for each text encoder, and its vectors' places in the encoder's table.
    pub of: BTreeMap<Role, (Vec<u32>, Range<usize>)>,
}

/// All words that were added.
#[derive(Default)]
pub(crate) struct Embeddings {
    pub words: Vec<Word>,
    /// Each text encoder's rows, one after another. Rows stay where they are: ids tell them for good.
    pub rows: BTreeMap<Role, Vec<f32>>,
}

/// The words as one text encoder has them.
pub(crate) struct AddedWords<'a> {
    pub words: &'a [Word],
    pub role: Role,
    pub vocabulary: usize,
}

impl AddedWords<'_> {
    fn ids(&self, rows: &Range<usize>) -> Vec<u32> {
        rows.clone().map(|row| (self.vocabulary + row) as u32).collect()
    }
}

impl Added for AddedWords<'_> {
    /// A1111's rule (`EmbeddingDatabase.find_embedding_at_position` in modules/textual_inversion/textual_inversion.py): by
    /// tokens, so that capitals do not matter.
    fn at(&self, ids: &[u32]) -> Option<(Vec<u32>, usize)> {
        let of = self.words.iter().filter_map(|word| word.of.get(&self.role));
        let (tokens, rows) = of.filter(|(tokens, _)| ids.starts_with(tokens)).max_by_key(|(t, _)| t.len())?;
        Some((self.ids(rows), tokens.len()))
    }

    fn named(&self, name: &str) -> Option<Vec<u32>> {
        let word = self.words.iter().find(|word| word.name.eq_ignore_ascii_case(name))?;
        word.of.get(&self.role).map(|(_, rows)| self.ids(rows))
    }
}

impl Embeddings {
    /// Ids as the text encoder's graph takes them, and the rows that those past the vocabulary stand for: the first such id is
    /// the first row.
    pub fn in_graph(
        &self,
        role: Role,
        (vocabulary, width): (usize, usize),
        ids: &[u32],
    ) -> (Vec<u32>, Vec<f32>) {
        let (mut found, mut rows) = (Vec::new(), Vec::new());
        let in_graph = |id: &u32| {
            let Some(row) = (*id as usize).checked_sub(vocabulary) else { return *id };
            let known = found.iter().position(|known| *known == row).unwrap_or_else(|| {
                found.push(row);
                rows.extend_from_slice(&self.rows[&role][row * width..][..width]);
                found.len() - 1
            });
            (vocabulary + known) as u32
        };
        (ids.iter().map(in_graph).collect(), rows)
    }

    /// The name of the word that an id past a text encoder's vocabulary belongs to, and which of its vectors it is.
    pub fn word(&self, role: Role, row: usize) -> Option<(&str, usize)> {
        let has = |word: &&Word| word.of.get(&role).is_some_and(|(_, rows)| rows.contains(&row));
        self.words.iter().find(has).map(|word| (&*word.name, row - word.of[&role].1.start))
    }
}
