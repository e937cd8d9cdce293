//! Words with vectors of their own that come in a LoRA's file.

use super::Lora;
use super::schemes::{BUNDLED, Unknown};
use calotype_tensor::Tensors;
use std::collections::BTreeSet;

impl Lora {
    /// The names of the words that it brings along, by which prompts call them: trained together with it, they say what it
    /// shows. Their vectors are [`TextualInversion::brought_by`](crate::TextualInversion::brought_by) it.
    pub fn words(&self) -> BTreeSet<&str> {
        let words = self.others.iter().filter(|(_, why)| *why == Unknown::Word);
        words.filter_map(|(tensor, _)| tensor.strip_prefix(BUNDLED)?.split('.').next()).collect()
    }

    /// Its file, and what the names of a word's tensors begin with there.
    pub(crate) fn word(&self, name: &str) -> (&dyn Tensors, String) {
        (&*self.source, format!("{BUNDLED}{name}."))
    }
}
