//! The values of flags, read from their words; what cannot be taken is told in words that say what can.

use calotype::{Sampler, Schedule};
use std::fmt::Display;
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A seed, or a wish for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub Option<u64>);

/// Other tools write -1 for a random seed.
pub(super) fn seed(text: &str) -> Result<Seed, String> {
    match text {
        "-1" => Ok(Seed(None)),
        _ => text
            .parse()
            .map(|n| Seed(Some(n)))
            .map_err(|e| whole(e, u64::MAX, "use a whole number from 0, or -1 for a random one")),
    }
}

/// How many batches: from 1.
pub(super) fn batch_count(text: &str) -> Result<u32, String> {
    let wrong = "use a whole number from 1";
    match text.parse().map_err(|e| whole(e, u32::MAX, wrong))? {
        0 => Err(format!("no picture would be drawn: {wrong}")),
        count => Ok(count),
    }
}

/// Why a text is no whole number that can be taken.
fn whole(error: ParseIntError, most: impl Display, wrong: &str) -> String {
    match error.kind() {
        IntErrorKind::PosOverflow => format!("too large a number: use at most {most}"),
        _ => wrong.into(),
    }
}

/// A number that can be calculated with, told as it was written where it cannot.
pub(super) fn number<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    let number: T = text.parse().map_err(|_| "use a number, such as 7.5")?;
    let written = || text.contains(|c: char| c.is_ascii_digit());
    match number.into() {
        finite if f64::is_finite(finite) => Ok(number),
        _ if written() => Err("too large a number to calculate with".into()),
        _ => Err("use a finite number, such as 7.5".into()),
    }
}

/// A LoRA's file, and what it is multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraArg {
    pub file: PathBuf,
    pub scale: f32,
}

pub(super) fn lora(text: &str) -> Result<LoraArg, String> {
    let (file, scale) = match text.rsplit_once(':') {
        // A colon may be part of the name, or of a drive.
        Some((file, scale)) if is_drive(file, scale) => (text, 1.0),
        Some((file, scale)) if scale.parse::<f32>().is_ok() || (is_lora(file) && !is_lora(text)) => {
            (file, scale.parse().unwrap_or(f32::NAN))
        }
        _ => (text, 1.0),
    };
    match scale.is_finite() && !file.is_empty() {
        true => Ok(LoraArg { file: file.into(), scale }),
        false => Err("the scale is a number after a colon, as in style.safetensors:0.8".into()),
    }
}

/// A file of an embedding, and what prompts call it.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingArg {
    pub file: PathBuf,
    /// As the file is called where nothing is said.
    pub name: Option<String>,
    /// Whether it was found by a word of a prompt: one that does not fit is then left out.
    pub found: bool,
}

pub(super) fn embedding(text: &str) -> Result<EmbeddingArg, String> {
    let named = text.rsplit_once(':').filter(|(file, name)| {
        !is_drive(file, name) && !name.contains(['/', '\\']) && !Path::new(text).exists()
    });
    let (file, name) = named.map_or((text, None), |(file, name)| (file, Some(name.to_owned())));
    match file.is_empty() || name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        true => {
            Err("a name behind a colon is the word that prompts have, as in cat.safetensors:my-cat".into())
        }
        false => Ok(EmbeddingArg { file: file.into(), name, found: false }),
    }
}

/// Whether the colon between two texts is a drive's: `C:\loras\ink`.
fn is_drive(before: &str, after: &str) -> bool {
    let letter = before.strip_prefix(r"\\?\").unwrap_or(before);
    letter.len() == 1
        && letter.starts_with(|c: char| c.is_ascii_alphabetic())
        && after.starts_with(['\\', '/'])
}

/// Whether a name is that of a LoRA's file, or of anything that is there.
fn is_lora(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) || path.exists()
}

pub fn sampler(name: &str) -> Result<Sampler, String> {
    let names: Vec<String> = Sampler::ALL.iter().map(|s| s.to_string()).collect();
    Sampler::from_str(name).map_err(|e| nearest(name, &names, e))
}

/// An error that also asks after the nearest of the names there are, where one is near.
fn nearest(name: &str, names: &[String], error: impl Display) -> String {
    let name = name.to_lowercase();
    let near = names.iter().map(|n| (strsim::jaro_winkler(n, &name), n)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near.filter(|(likeness, _)| *likeness > 0.8) {
        Some((_, near)) => format!("{error}; did you mean {near}?"),
        None => error.to_string(),
    }
}

pub(super) fn sampler_help() -> String {
    format!("The sampler: {} [default: the model's own]", Sampler::names())
}

/// A list in one argument.
#[derive(Clone, Debug)]
pub struct Numbers(pub Vec<f64>);

/// Numbers with commas between.
pub(super) fn numbers(text: &str) -> Result<Numbers, String> {
    text.split(',').map(|part| number(part.trim())).collect::<Result<_, _>>().map(Numbers)
}

/// A width and a height.
pub(super) fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once(['x', 'X']).map(|(width, height)| (width.parse(), height.parse()));
    match sides {
        Some((Ok(width), Ok(height))) if width > 0 && height > 0 => Ok([width, height]),
        _ => Err("use width and height in pixels, as in 512x512".into()),
    }
}

/// Pixels from the left and from the top.
pub(super) fn place(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once(',').map(|(x, y)| (x.trim().parse(), y.trim().parse()));
    match sides {
        Some((Ok(x), Ok(y))) => Ok([x, y]),
        _ => Err("use pixels from the left and from the top, as in 0,128".into()),
    }
}

pub(super) fn schedule_help() -> String {
    format!(
        "The noise schedule: {} [default: the model's own, or the sampler's]",
        Schedule::names().join(", ")
    )
}

pub(super) fn schedule(name: &str) -> Result<Schedule, String> {
    let names: Vec<String> = Schedule::names().into_iter().map(String::from).collect();
    Schedule::from_str(name).map_err(|e| nearest(name, &names, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_may_have_a_scale_behind_a_colon() {
        let read = |text: &str| lora(text).map(|l| (l.file.to_string_lossy().into_owned(), l.scale));
        assert_eq!(read("ink.safetensors").unwrap(), ("ink.safetensors".into(), 1.0));
        assert_eq!(read("ink.safetensors:-0.5").unwrap(), ("ink.safetensors".into(), -0.5));
        for path in [
            r"C:\loras\ink.safetensors",
            r"C:\ink",
            "c:/loras/ink.bin",
            r"\\?\D:\ink",
            r"\\server\loras\ink.safetensors",
        ] {
            assert_eq!(read(path).unwrap(), (path.into(), 1.0));
            assert_eq!(read(&format!("{path}:0.8")).unwrap(), (path.into(), 0.8));
        }
        assert_eq!(read("a:b.safetensors").unwrap(), ("a:b.safetensors".into(), 1.0));
        for wrong in ["ink:nan", ":1", "ink.safetensors:abc", "ink.safetensors:", "src:strong"] {
            let told = read(wrong).expect_err(wrong);
            assert!(told.contains("a number after a colon"), "{wrong}: {told}");
        }
    }

    #[test]
    fn an_embedding_may_have_a_name_behind_a_colon() {
        let read = |text: &str| embedding(text).map(|e| (e.file.to_string_lossy().into_owned(), e.name));
        assert_eq!(read("a/cat.pt").unwrap(), ("a/cat.pt".into(), None));
        assert_eq!(read("a/cat.pt:<my cat>").unwrap(), ("a/cat.pt".into(), Some("<my cat>".into())));
        assert_eq!(read(r"C:\cat.pt").unwrap(), (r"C:\cat.pt".into(), None));
        assert_eq!(read(r"C:\cat.pt:cat").unwrap(), (r"C:\cat.pt".into(), Some("cat".into())));
        assert!(read("cat.pt:").is_err() && read(":cat").is_err());
    }

    #[test]
    fn seeds_are_numbers_or_random() {
        assert_eq!(seed("18446744073709551615").unwrap(), Seed(Some(u64::MAX)));
        assert_eq!(seed("-1").unwrap(), Seed(None));
        assert!(seed("-2").is_err() && seed("x").is_err());
        let told = seed("18446744073709551616").unwrap_err();
        assert_eq!(told, "too large a number: use at most 18446744073709551615");
    }
}
