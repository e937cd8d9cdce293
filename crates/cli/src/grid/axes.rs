//! Axes as they are typed, and the command lines of the cells between them.

use crate::args::{self, GenerateArgs, GridArgs, Seed};
use crate::exit::Usage;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Cells that a sheet may have: one picture each, all of them kept.
const MOST: usize = 10_000;

/// What changes along one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// `--x`, `--y` or `--z`.
    pub side: &'static str,
    /// A flag of `generate` without its dashes, or `prompt`.
    pub flag: String,
    pub values: Vec<String>,
}

impl Axis {
    fn parse(side: &'static str, text: &str) -> Result<Self, Usage> {
        let bad = |why: &str| Usage(format!("{side} {text}: {why}: {side} steps=10,20,50"));
        let (flag, values) = text.split_once('=').ok_or_else(|| bad("a flag and its values are wanted"))?;
        let flag = flag.trim_start_matches('-').replace('_', "-");
        let values = listed(values).ok_or_else(|| bad("a double quote is not closed"))?;
        match flag.is_empty() || values.iter().any(String::is_empty) {
            true => Err(bad("a flag or a value is missing")),
            false => Ok(Self { side, flag, values }),
        }
    }

    /// What stands beside a value's pictures.
    pub fn label(&self, value: &str) -> String {
        match self.flag.as_str() {
            "prompt" => replacement(value).map_or(value, |(_, other)| other).to_string(),
            flag => format!("{flag} {value}"),
        }
    }
}

/// What stands between commas, where double quotes hold a value together and two of them are one (RFC 4180).
fn listed(text: &str) -> Option<Vec<String>> {
    let (mut values, mut quoted) = (vec![String::new()], false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, values.last_mut()?) {
            ('"', last) if quoted && characters.next_if_eq(&'"').is_some() => last.push('"'),
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => values.push(String::new()),
            (_, last) => last.push(character),
        }
    }
    (!quoted).then_some(values)
}

/// A picture's place, and all that it is drawn with.
#[derive(Debug)]
pub struct Cell {
    /// By the flags of the axes.
    pub values: BTreeMap<String, String>,
    pub args: GenerateArgs,
}

/// The axes in the order x, y, z, and the cells, z by z and row by row.
pub fn cells(args: &GridArgs, typed: &[OsString]) -> Result<(Vec<Axis>, Vec<Cell>), Usage> {
    let axes = args.axes().map(|(side, text)| Axis::parse(side, text)).collect::<Result<Vec<_>, _>>()?;
    if axes.is_empty() {
        return Err(Usage("a grid takes an axis or more: --x steps=10,20,50".into()));
    }
    if let Some(twice) = (1..axes.len()).find(|at| axes[..*at].iter().any(|axis| axis.flag == axes[*at].flag))
    {
        return Err(Usage(format!("{} is on two axes: leave one out", axes[twice].flag)));
    }
    let own = &args.generate;
    for (given, flag, why) in [
        (own.from_file.is_some(), "--from-file", "use --y prompt=\"…\",\"…\""),
        (own.batch_count != 1, "--batch-count", "use --z seed=…, or --batch-size"),
        (own.grid, "--grid", "it is one already"),
    ] {
        if given {
            return Err(Usage(format!("{flag} is not for a grid: leave it out; {why}")));
        }
    }
    let count = axes.iter().map(|axis| axis.values.len()).try_fold(1usize, |n, len| n.checked_mul(len));
    if count.is_none_or(|count| count > MOST) {
        return Err(Usage(format!("a grid has {MOST} cells at most: leave values out")));
    }
    let line = without_axes(typed);
    let mut cells: Vec<Vec<(&Axis, String)>> = vec![Vec::new()];
    // The last axis changes slowest.
    for axis in axes.iter().rev() {
        let mut longer = Vec::new();
        for cell in cells {
            let values = axis.values.iter().map(|value| (axis, value.clone()));
            longer.extend(values.map(|value| [&cell[..], &[value]].concat()));
        }
        cells = longer;
    }
    let cells = cells.into_iter().map(|values| cell(&line, &values)).collect::<Result<Vec<_>, _>>()?;
    Ok((axes, cells))
}

/// The command line of `generate` that draws what all cells share.
fn without_axes(typed: &[OsString]) -> Vec<OsString> {
    let mut line = Vec::new();
    let (mut words, mut command) = (typed.iter(), false);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let flag = ["--x", "--y", "--z"].into_iter().find(|flag| text.starts_with(flag));
        match flag.map(|flag| &text[flag.len()..]) {
            Some("") => drop(words.next()),
            Some(rest) if rest.starts_with('=') => {}
            _ if !command && text == "grid" => {
                command = true;
                line.push("generate".into());
            }
            _ => line.push(word.clone()),
        }
    }
    line
}

fn cell(line: &[OsString], values: &[(&Axis, String)]) -> Result<Cell, Usage> {
    let flags = values.iter().filter(|(axis, _)| axis.flag != "prompt");
    let flags: Vec<OsString> = flags.map(|(axis, value)| format!("--{}={value}", axis.flag).into()).collect();
    // After a `--` there would be no flags.
    let split = line.iter().position(|word| word == "--").unwrap_or(line.len());
    let line = [&line[..split], &flags, &line[split..]].concat();
    let mut args = args::generate(&line)?;
    for (axis, value) in values.iter().filter(|(axis, _)| axis.flag == "prompt") {
        let prompt = args.prompt.as_deref().unwrap_or_default();
        args.prompt = Some(reworded(axis, value, prompt)?);
    }
    let values = values.iter().map(|(axis, value)| (axis.flag.clone(), value.clone())).collect();
    Ok(Cell { values, args })
}

/// The words and what takes their place in `s/WORDS/OTHER/`, with any sign for `/`.
fn replacement(value: &str) -> Option<(&str, &str)> {
    let rest = value.strip_prefix('s')?;
    let sign = rest.chars().next().filter(|sign| sign.is_ascii_punctuation())?;
    let mut parts = rest[sign.len_utf8()..].split(sign);
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (words, other, "", None) if !words.is_empty() => Some((words, other)),
        _ => None,
    }
}

/// A value of a prompt's axis: a replacement, or a prompt of its own.
fn reworded(axis: &Axis, value: &str, prompt: &str) -> Result<String, Usage> {
    match replacement(value) {
        None => Ok(value.to_string()),
        Some((words, other)) if prompt.contains(words) => Ok(prompt.replace(words, other)),
        Some((words, _)) => {
            Err(Usage(format!("{} prompt={value}: the prompt {prompt:?} has no {words:?} in it", axis.side)))
        }
    }
}

/// Gives all cells one seed, where none is asked for.
pub fn share_seed(cells: &mut [Cell], seed: u64) {
    for cell in cells {
        cell.args.seed.get_or_insert(Seed(None)).0.get_or_insert(seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_commas() {
        let list = |text: &str| listed(text).unwrap();
        assert_eq!(list("1,2"), ["1", "2"]);
        assert_eq!(list(r#""1,2",a "b" c,"say ""x""""#), ["1,2", "a b c", "say \"x\""]);
        assert_eq!(listed("\"1"), None);
    }

    #[test]
    fn words_are_replaced_or_all_of_them() {
        let axis = Axis { side: "--x", flag: "prompt".into(), values: Vec::new() };
        let of = |value| reworded(&axis, value, "a cat by a cat");
        assert_eq!(of("s/cat/dog/").unwrap(), "a dog by a dog");
        assert_eq!(of("s|a cat|e/r|").unwrap(), "e/r by e/r");
        assert_eq!(of("sunset").unwrap(), "sunset");
        assert_eq!(of("s/cat").unwrap(), "s/cat");
        assert!(of("s/owl/dog/").unwrap_err().to_string().contains("no \"owl\""));
    }

    #[test]
    fn a_line_loses_its_axes() {
        let line = |words: &[&str]| -> Vec<String> {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            without_axes(&words).into_iter().map(|word| word.into_string().unwrap()).collect()
        };
        let typed = ["calotype", "grid", "grid", "--x", "steps=1,2", "--y=seed=1", "--seed", "2"];
        assert_eq!(line(&typed), ["calotype", "generate", "grid", "--seed", "2"]);
    }
}
