//! Words with vectors of their own on a model: which it takes, and which prompts name.

use crate::embeddings::{AddedWords, Word};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::order::Order;
use calotype_field::Field;
use calotype_models::Role;
use calotype_weights::{Lora, TextualInversion, Tower, Vectors};
use std::collections::BTreeMap;

impl Model {
    /// Adds a word with vectors of its own, which prompts call by `name`: letters in any case, anywhere in a prompt (A1111), as
    /// `embedding:NAME` (ComfyUI), or, where prompts are plain text, as diffusers' `load_textual_inversion` adds it, there
    /// also by the word that the file has. Fails, leaving the model as it is, where the vectors are for another.
    pub fn add_embedding(&mut self, name: impl Into<String>, embedding: &TextualInversion) -> Result<()> {
        let name = name.into();
        let bad =
            |why: String| Err(Error::request(Field::Embeddings, format!("{}: {why}", embedding.place())));
        if name.trim().is_empty() {
            return bad("no prompt can name it: say what it is called".into());
        }
        if self.embeddings().any(|known| known.eq_ignore_ascii_case(&name)) {
            return bad(format!("two embeddings are called {name}: name one of them otherwise"));
        }
        let vectors = match self.vectors(embedding) {
            Ok(vectors) => vectors,
            Err(why) => return bad(why),
        };
        let mut of = BTreeMap::new();
        for (role, vectors) in &vectors {
            let tokenizer = &self.tokenizers[role];
            let (count, most) = (vectors.count(), tokenizer.max_len() - 2);
            if count > most {
                return bad(format!(
                    "the word has {count} vectors, and a prompt's chunk has room for {most}"
                ));
            }
            let tokens = tokenizer.ids(&name)?;
            if tokens.is_empty() {
                return bad(format!(
                    "{name:?} has no tokens, so that no prompt can name it: call it otherwise"
                ));
            }
            let first = self.embeddings.rows.get(role).map_or(0, Vec::len) / vectors.width;
            of.insert(*role, (tokens, first..first + count));
        }
        for (role, vectors) in vectors {
            let first = self.vocabulary(role) + of[&role].1.start;
            let ids: Vec<u32> = (first..first + vectors.count()).map(|id| id as u32).collect();
            let tokenizer = self.tokenizers.get_mut(&role).expect("it was just there");
            for word in
                [Some(&name), embedding.word.as_ref().filter(|word| **word != name)].into_iter().flatten()
            {
                tokenizer.add(word, &ids)?;
            }
            self.embeddings.rows.entry(role).or_default().extend_from_slice(&vectors.values);
        }
        self.embeddings.words.push(Word { name, of });
        Ok(())
    }

    /// Adds the words that a LoRA brings in its file. Where one of that name was added before, that one is kept, as A1111 does
    /// (`network.py` of its extension Lora). Fails where one is for another model.
    pub async fn add_words(&mut self, lora: &Lora) -> Result<()> {
        for (name, embedding) in TextualInversion::brought_by(lora).await? {
            if !self.embeddings().any(|known| known.eq_ignore_ascii_case(&name)) {
                self.add_embedding(name, &embedding)?;
            }
        }
        Ok(())
    }

    /// The names of the words that were added, in order.
    pub fn embeddings(&self) -> impl Iterator<Item = &str> {
        self.embeddings.words.iter().map(|word| &*word.name)
    }

    /// Those of them that an order's prompts name, in the order in which they do.
    pub(crate) fn named(&self, order: &Order) -> Result<Vec<String>> {
        let mut named: Vec<String> = Vec::new();
        if self.embeddings.words.is_empty() {
            return Ok(named);
        }
        let (negative, positive) = order.spoken(self.config.index.texts)?;
        for (role, part) in positive.iter().chain(negative.iter().flatten()).flatten().flatten() {
            for (_, text) in &part.turns {
                let framed = self.framed(*role, text, (order.prompt_style, order.emphasis))?;
                for row in framed
                    .iter()
                    .flat_map(|f| &f.ids)
                    .filter_map(|id| (*id as usize).checked_sub(self.vocabulary(*role)))
                {
                    let Some((name, _)) = self.embeddings.word(*role, row) else { continue };
                    if !named.iter().any(|known| known == name) {
                        named.push(name.into());
                    }
                }
            }
        }
        Ok(named)
    }

    /// Those words as a text encoder has them.
    pub(crate) fn spoken(&self, role: Role) -> AddedWords<'_> {
        AddedWords { words: &self.embeddings.words, role, vocabulary: self.vocabulary(role) }
    }

    /// Rows of a text encoder's own table.
    pub(crate) fn vocabulary(&self, role: Role) -> usize {
        self.config.text(role).map_or(0, |text| text.clip.vocab_size)
    }

    /// What a text encoder's id stands for in words: its word, or an embedding's with the vector's number.
    pub fn word(&self, role: Role, id: u32) -> Option<String> {
        match (id as usize).checked_sub(self.vocabulary(role)) {
            Some(row) => self.embeddings.word(role, row).map(|(name, i)| format!("<{name} {}>", i + 1)),
            None => self.tokenizers.get(&role)?.word(id),
        }
    }

    /// An embedding's vectors by the text encoder that takes them; or why they do not go with this model.
    fn vectors<'a>(
        &self,
        embedding: &'a TextualInversion,
    ) -> std::result::Result<Vec<(Role, &'a Vectors)>, String> {
        let texts = &self.config.texts;
        let of = |role: Role| {
            let towers: &[Tower] = match (texts.len(), role) {
                (1, Role::Text) => &[Tower::Only],
                // SDXL's refiner has the second encoder alone.
                (1, _) => &[Tower::G, Tower::Only],
                (_, Role::Text) => &[Tower::L],
                _ => &[Tower::G],
            };
            embedding.towers.iter().find(|vectors| towers.contains(&vectors.tower))
        };
        let pairs: Option<Vec<_>> = texts.iter().map(|text| Some((text, of(text.role)?))).collect();
        let whole = texts.len() > 1 || texts[0].role != Role::Text || embedding.towers.len() == 1;
        let pairs =
            pairs.filter(|pairs| whole && pairs.iter().all(|(text, v)| text.clip.hidden_size == v.width));
        pairs.map(|pairs| pairs.into_iter().map(|(text, v)| (text.role, v)).collect()).ok_or_else(|| {
            let widths: Vec<String> = texts.iter().map(|text| text.clip.hidden_size.to_string()).collect();
            let (own, which) = (widths.join(" and "), if texts.len() == 1 { "encoder takes" } else { "encoders take" });
            let family = embedding.family().map(|family| format!(" (for {family})")).unwrap_or_default();
            format!(
                "its vectors are {}{family}, and the model's text {which} {own}: take an embedding that was trained for the \
                 model's family",
                embedding.widths()
            )
        })
    }
}
