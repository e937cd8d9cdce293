//! Words with vectors of their own that come in a LoRA's file.

use super::Lora;
use super::schemes::{BUNDLED, Unknown};
use crate::{Result, TextualInversion};
use std::collections::BTreeSet;

impl Lora {
    /// The names of the words that it brings along, by which prompts call them: trained together with it, they say what it
    /// shows.
    pub fn words(&self) -> BTreeSet<&str> {
        let words = self.others.iter().filter(|(_, why)| *why == Unknown::Word);
        words.filter_map(|(tensor, _)| tensor.strip_prefix(BUNDLED)?.split('.').next()).collect()
    }

    /// The same with their vectors, in the names' order.
    pub async fn embeddings(&self) -> Result<Vec<(String, TextualInversion)>> {
        let mut found = Vec::new();
        for word in self.words() {
            let embedding = TextualInversion::within(&*self.source, &format!("{BUNDLED}{word}.")).await?;
            found.push((word.to_owned(), embedding));
        }
        Ok(found)
    }
}
