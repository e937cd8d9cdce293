//! A file of weights: its format, its tensors by parts, and what it says of itself.

use super::{count, embedding, lora, plain, told};
use crate::args::InspectArgs;
use crate::hashes;
use crate::text::{self, bytes, table};
use calotype::{FileKind, Recipe, lora_name};
use calotype_weights::files::{Entry, Header, list};
use calotype_weights::{Bytes, Mapped};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The most parts that are listed, and the most values.
const LISTED: usize = 24;
/// The longest value that is told whole.
const LONGEST: usize = 100;
/// The most steps of a name that a part is called by.
const DEEPEST: usize = 3;

/// Prints what a file holds.
pub fn print(path: &Path, license: Option<&str>, args: &InspectArgs) -> anyhow::Result<()> {
    let place = path.display().to_string();
    let mapped = Mapped::open(path)?;
    let header = pollster::block_on(list(&place, &mapped))?;
    let (lora, word) = (lora::facts(path)?, embedding::facts(path)?);
    let recipe = recipe(path, &header, lora.is_some());
    let hashes = if args.hashes { hashes::of(path, header.format)? } else { Vec::new() };
    if args.json {
        let mut object = object(&place, mapped.size(), &header, &hashes);
        object["license"] = json!(license);
        object["distilled"] = json!(recipe);
        object["lora"] = serde_json::to_value(&lora)?;
        object["embedding"] = json!(word.as_ref().map(embedding::object));
        // What its tensors are cannot always be told.
        object["is"] = told::report(path).map_or(serde_json::Value::Null, |report| told::object(&report));
        return text::json(&object);
    }
    let size = bytes(mapped.size());
    text::result(&format!("{place}: {}, {size}\n\n{}\n", header.format, parts(&header)))?;
    if let Some(facts) = &lora {
        text::result(&format!("{}\n", table(&lora::rows(facts), &[])))?;
    }
    if let Some(word) = &word {
        text::result(&format!("{}\n", table(&embedding::rows(word), &[])))?;
    }
    let facts: Vec<Vec<String>> = hashes.into_iter().map(|(name, hash)| vec![name.into(), hash]).collect();
    let told = told::report(path)
        .map_or_else(|error| vec![vec!["not told".into(), format!("{error:#}")]], |r| told::facts(&r));
    let license = license.map(|license| vec!["licence".into(), plain(license)]).into_iter().collect();
    let turned = text::turned(header.tensors.iter().map(|entry| entry.encoding));
    let turned = turned.map(|turned| vec!["on a GPU".into(), turned]).into_iter().collect();
    let recipe =
        recipe.map(|recipe| vec!["few steps".into(), plain(&recipe.to_string())]).into_iter().collect();
    let facts = [told, recipe, turned, license, facts, said(&header.metadata)].concat();
    if facts.is_empty() { Ok(()) } else { text::result(&table(&facts, &[])) }
}

/// As what a model or a LoRA is drawn that is one of few steps by its name.
fn recipe(path: &Path, header: &Header, is_lora: bool) -> Option<Recipe> {
    let said = |key: &str| header.metadata.get(key).map(String::as_str);
    let names: Vec<&str> = header.tensors.iter().map(|entry| &*entry.name).collect();
    match is_lora {
        true => Recipe::of_lora(&lora_name(path), said),
        false if FileKind::of(&names) == FileKind::Model => {
            Recipe::of_model(&path.file_stem()?.to_string_lossy(), said)
        }
        false => None,
    }
}

fn object(place: &str, size: u64, header: &Header, hashes: &[(&str, String)]) -> serde_json::Value {
    let tensors = header.tensors.iter().map(|entry| {
        json!({
            "name": entry.name,
            "dtype": entry.encoding.name(),
            "shape": entry.shape,
            "read": entry.encoding.lent().is_some(),
        })
    });
    let all = Sum::of(header.tensors.iter());
    json!({
        "file": place,
        "format": header.format.name(),
        "bytes": size,
        "parameters": all.parameters,
        "dtypes": all.dtypes,
        "tensors": tensors.collect::<Vec<_>>(),
        "metadata": header.metadata,
        "hashes": hashes.iter().map(|(name, hash)| (*name, hash)).collect::<BTreeMap<_, _>>(),
    })
}

/// What some tensors come to.
#[derive(Default)]
struct Sum {
    parameters: u64,
    bytes: u64,
    dtypes: BTreeMap<&'static str, usize>,
}

impl Sum {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut sum = Self::default();
        for entry in entries {
            let numel: usize = entry.shape.iter().product();
            sum.parameters += if entry.encoding.is_float() { numel as u64 } else { 0 };
            sum.bytes += entry.encoding.bytes(numel);
            *sum.dtypes.entry(entry.encoding.name()).or_default() += 1;
        }
        sum
    }

    fn row(&self, name: String) -> Vec<String> {
        let dtypes: Vec<String> = self.dtypes.iter().map(|(dtype, n)| format!("{n} {dtype}")).collect();
        vec![name, count(self.parameters), bytes(self.bytes), dtypes.join(", ")]
    }
}

/// The tensors, by the beginnings of their names: as many steps as it takes to tell two parts apart.
fn parts(header: &Header) -> String {
    let begin = |name: &str, steps: usize| {
        let ends = name.match_indices(['.', '/']).map(|(at, _)| at).nth(steps - 1);
        ends.map_or(name, |end| &name[..end]).to_owned()
    };
    let by = |steps: usize| {
        let mut parts: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        header
            .tensors
            .iter()
            .for_each(|entry| parts.entry(begin(&entry.name, steps)).or_default().push(entry));
        parts
    };
    let parts = (1..=DEEPEST).map(by).find(|parts| parts.len() > 1).unwrap_or_else(|| by(DEEPEST));
    let mut rows = vec![["part", "parameters", "bytes", "tensors"].map(String::from).to_vec()];
    let (listed, rest) = (parts.iter().take(LISTED), parts.values().skip(LISTED));
    rows.extend(listed.map(|(name, entries)| Sum::of(entries.iter().copied()).row(plain(name))));
    if parts.len() > LISTED {
        let more = format!("{} more", parts.len() - LISTED);
        rows.push(Sum::of(rest.flatten().copied()).row(more));
    }
    rows.push(Sum::of(header.tensors.iter()).row("all".into()));
    table(&rows, &[1, 2])
}

/// What a file says of itself, a line each.
fn said(metadata: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let told = |text: &str| {
        let begin: String = text.chars().take(LONGEST).collect();
        let more = if begin.len() < text.len() { "…" } else { "" };
        format!("{}{more}", plain(&begin))
    };
    let mut rows: Vec<_> =
        metadata.iter().take(LISTED).map(|(key, value)| vec![told(key), told(value)]).collect();
    if metadata.len() > LISTED {
        rows.push(vec![format!("{} more", metadata.len() - LISTED), "--json prints all".into()]);
    }
    rows
}
