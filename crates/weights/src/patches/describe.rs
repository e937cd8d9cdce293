//! What a file is, for people.

use super::Lora;
use super::kind::Piece;
use super::schemes::Unknown;
use crate::Result;
use calotype_tensor::Tensors;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a LoRA's file is, as far as it says.
#[derive(Clone, Debug, Serialize)]
pub struct LoraFacts {
    /// Its kinds (LoRA, LoHa, LoKr, …; "DoRA" beside them), each with how many layers it changes so.
    pub kinds: BTreeMap<String, usize>,
    /// The naming schemes of its layers, each with how many.
    pub naming: BTreeMap<String, usize>,
    /// The components of a model that it changes, by their folders, each with how many layers.
    pub components: BTreeMap<String, usize>,
    /// The ranks that its layers have, in ascending order.
    pub ranks: Vec<usize>,
    /// The alphas, likewise; none where no layer has one.
    pub alphas: Vec<f32>,
    /// The family of models that it is for, where that is known.
    pub family: Option<String>,
    /// How that is known.
    pub family_by: Option<String>,
    /// Words that bring its effect out: those it names, or the commonest tags it was trained with.
    pub trigger_words: Vec<String>,
    /// Words with vectors of their own that come with it, as prompts name them.
    pub words: Vec<String>,
    /// Tensors that are none of any layer's or word's, each with why where that is known.
    pub others: BTreeMap<String, Option<String>>,
}

/// How many of the commonest tags are told.
const TAGS: usize = 8;

impl Lora {
    /// What it is. Reads its alphas, and no other tensor.
    pub async fn describe(&self) -> Result<LoraFacts> {
        let (mut kinds, mut naming, mut components) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let count =
            |counts: &mut BTreeMap<String, usize>, what: &str| *counts.entry(what.into()).or_default() += 1;
        let (mut ranks, mut alphas) = (BTreeSet::new(), Vec::new());
        for layer in &self.layers {
            count(&mut naming, layer.scheme);
            count(&mut components, layer.component);
            let own: BTreeSet<&str> = layer.kinds().map(|kind| kind.name()).collect();
            own.into_iter()
                .chain(layer.has_dora().then_some("DoRA"))
                .for_each(|kind| count(&mut kinds, kind));
            ranks.extend(layer.kinds().filter_map(|kind| kind.rank(&layer.shapes)));
            alphas.extend(self.number(layer, Piece::Alpha).await?);
        }
        alphas.sort_by(f32::total_cmp);
        alphas.dedup();
        let (family, family_by) = self.family().map(|(family, how)| (family.to_string(), how)).unzip();
        let why = |why: &Unknown| (*why != Unknown::Name).then(|| super::unknown(why));
        let others = self.others.iter().filter(|(_, what)| *what != Unknown::Word);
        Ok(LoraFacts {
            kinds,
            naming,
            components,
            ranks: ranks.into_iter().collect(),
            alphas,
            family,
            family_by,
            trigger_words: self.trigger_words(),
            words: self.words().into_iter().map(String::from).collect(),
            others: others.map(|(name, what)| (name.clone(), why(what))).collect(),
        })
    }

    fn trigger_words(&self) -> Vec<String> {
        if let Some(phrase) = self.source.metadata("modelspec.trigger_phrase").filter(|text| !text.is_empty())
        {
            return vec![phrase.to_owned()];
        }
        let tags = self.source.metadata("ss_tag_frequency").and_then(|text| serde_json::from_str(text).ok());
        tags.map(|tags: Value| commonest(&tags)).unwrap_or_default()
    }
}

/// The commonest of `{"folder": {"tag": count}}`, commonest first.
fn commonest(tags: &Value) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (tag, count) in
        tags.as_object().into_iter().flatten().filter_map(|(_, tags)| tags.as_object()).flatten()
    {
        *counts.entry(tag.trim()).or_default() += count.as_u64().unwrap_or(0);
    }
    let mut counts: Vec<(&str, u64)> = counts.into_iter().filter(|(tag, _)| !tag.is_empty()).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().take(TAGS).map(|(tag, _)| tag.to_owned()).collect()
}
