//! Which of the tensors in a pickle are the weights, and what they are called.

use super::machine::{Id, Value};
use super::torch::{Key, Meaning, Tensor};
use crate::files::others::view::{Parsed, damaged};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What trainers and upscalers wrap weights in, the best first. Whatever lies beside them (an optimizer's state, a running
/// average) is no part of the model.
const WRAPPERS: [&str; 5] = ["state_dict", "model_state_dict", "params_ema", "params-ema", "params"];
/// What weights may be wrapped in if no others lie beside it.
const ALONE: [&str; 4] = ["model", "module", "net", "adapter"];
/// What torch's modules keep their parts in: levels that no name has.
const PARTS: [&str; 3] = ["_parameters", "_buffers", "_modules"];
/// Dictionaries nested deeper are none of weights.
const DEEPEST: usize = 64;
/// So many tensors no model has.
const MOST_TENSORS: usize = 1 << 18;
/// So long a name no tensor has.
const LONGEST_NAME: usize = 1000;
/// The longest text that is worth telling.
const LONGEST_TEXT: usize = 400;

/// A pickle's weights, by name.
pub(super) struct Weights {
    pub tensors: BTreeMap<String, Tensor>,
    /// Short values that lie beside them.
    pub metadata: BTreeMap<String, String>,
}

/// So many of them are told.
const MOST_TOLD: usize = 256;

/// Finds the weights.
pub(super) fn weights(meaning: &Meaning<'_, '_>) -> Parsed<Weights> {
    let mut found = Found { meaning, counts: HashMap::new(), seen: HashSet::new(), tensors: BTreeMap::new() };
    let mut root = meaning.pickle.root();
    let mut metadata = BTreeMap::new();
    for _ in 0..DEEPEST {
        let wrapped = found.wrapped(root)?;
        for (key, id) in meaning.children(root).unwrap_or_default() {
            if metadata.len() >= MOST_TOLD {
                break;
            }
            if let Some(value) = found.told(id, wrapped)? {
                metadata.entry(found.name(key)?).or_insert(value);
            }
        }
        let Some(inner) = wrapped else { break };
        root = inner;
    }
    found.visit(String::new(), root, 0)?;
    Ok(Weights { tensors: found.tensors, metadata })
}

struct Found<'m, 'p, 'a> {
    meaning: &'m Meaning<'p, 'a>,
    /// Tensors in a value, where they have been counted.
    counts: HashMap<Id, usize>,
    /// What has been looked at: a dictionary that lies in two places, or in itself, is gone through once.
    seen: HashSet<Id>,
    tensors: BTreeMap<String, Tensor>,
}

impl Found<'_, '_, '_> {
    fn name(&self, key: Key) -> Parsed<String> {
        let name = match key {
            Key::Index(i) => i.to_string(),
            Key::Named(key) => match *self.meaning.pickle.get(key) {
                Value::Int(n) => n.to_string(),
                _ => self.meaning.pickle.text(key).unwrap_or("?").to_owned(),
            },
        };
        if name.len() > LONGEST_NAME { damaged("a name in its pickle is endless") } else { Ok(name) }
    }

    /// Tensors in a value, itself or in what it holds.
    fn count(&mut self, id: Id, depth: usize) -> Parsed<usize> {
        if let Some(&count) = self.counts.get(&id) {
            return Ok(count);
        }
        if self.meaning.tensor(id)?.is_some() {
            return Ok(1);
        }
        // What holds itself counts for nothing there.
        self.counts.insert(id, 0);
        let mut count = 0usize;
        for (_, child) in self.meaning.children(id).unwrap_or_default() {
            if depth > DEEPEST {
                return too_deep();
            }
            count = count.saturating_add(self.count(child, depth + 1)?);
        }
        self.counts.insert(id, count);
        Ok(count)
    }

    /// The value in which the weights are, where one wraps them.
    fn wrapped(&mut self, id: Id) -> Parsed<Option<Id>> {
        let mut named = BTreeMap::new();
        for (key, child) in self.meaning.children(id).unwrap_or_default() {
            if self.meaning.tensor(child)?.is_some() {
                return Ok(None);
            }
            if self.count(child, 0)? > 0 {
                named.insert(self.name(key)?, child);
            }
        }
        let any = |names: &[&str]| names.iter().find_map(|name| named.get(*name)).copied();
        Ok(any(&WRAPPERS).or_else(|| any(&ALONE).filter(|_| named.len() == 1)))
    }

    /// What is worth saying of a value beside the weights: what it is, or how many tensors are left aside with it.
    fn told(&mut self, id: Id, wrapped: Option<Id>) -> Parsed<Option<String>> {
        Ok(match *self.meaning.pickle.get(id) {
            Value::Int(n) => Some(n.to_string()),
            Value::Float(x) => Some(x.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Text(text) if text.len() <= LONGEST_TEXT => Some(text.into()),
            _ => match (wrapped, self.count(id, 0)?) {
                (None, _) | (_, 0) => None,
                (Some(weights), _) if weights == id => None,
                (_, count) => Some(format!("({count} tensors, left aside)")),
            },
        })
    }

    /// Collects the tensors in a value under names of their path.
    fn visit(&mut self, prefix: String, id: Id, depth: usize) -> Parsed<()> {
        if let Some(tensor) = self.meaning.tensor(id)? {
            if self.tensors.len() >= MOST_TENSORS {
                return damaged("its pickle has more tensors than any model");
            }
            // In Python, too, the last of a name counts.
            self.tensors.insert(prefix, tensor);
            return Ok(());
        }
        if self.count(id, 0)? == 0 || !self.seen.insert(id) {
            return Ok(());
        }
        // A value that was counted elsewhere ends the count's way down, and so may lie deeper than it went.
        if depth > DEEPEST + 1 {
            return too_deep();
        }
        for (key, child) in self.meaning.children(id).unwrap_or_default() {
            let key = self.name(key)?;
            let name = match (prefix.is_empty(), PARTS.contains(&&*key)) {
                (_, true) => prefix.clone(),
                (true, _) => key,
                (false, _) => format!("{prefix}.{key}"),
            };
            if name.len() > LONGEST_NAME {
                return damaged("a name in its pickle is endless");
            }
            self.visit(name, child, depth + 1)?;
        }
        Ok(())
    }
}

fn too_deep<T>() -> Parsed<T> {
    damaged(format!("its pickle is nested more than {DEEPEST} deep"))
}
