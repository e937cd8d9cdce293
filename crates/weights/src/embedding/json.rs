//! A word as JSON, the form in which A1111 puts one into a picture (`modules/textual_inversion/image_embedding.py`).

use super::{TextualInversion, Tower, Vectors};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// As it saves a word, with tensors as lists of numbers.
#[derive(Deserialize)]
struct Saved {
    string_to_param: BTreeMap<String, Tensor>,
    #[serde(default)]
    name: Value,
    #[serde(default)]
    step: Value,
    #[serde(default)]
    sd_checkpoint_name: Value,
}

#[derive(Deserialize)]
struct Tensor {
    #[serde(rename = "TORCHTENSOR")]
    numbers: Numbers,
}

/// A vector, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(Vec<f32>),
    Many(Vec<Vec<f32>>),
}

impl TextualInversion {
    /// Reads a word that A1111 wrote as JSON; `place` is the name in errors of the file that has it.
    pub fn of_json(place: &str, text: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::Embedding { place: place.into(), why };
        let saved: Saved = serde_json::from_slice(text)
            .map_err(|e| bad(format!("the word in it cannot be read ({e}): download it again")))?;
        let mut words = saved.string_to_param.into_iter();
        let (Some((_, tensor)), None) = (words.next(), words.next()) else {
            return Err(bad("it holds no word, or several: save each in a file of its own".into()));
        };
        let rows = match tensor.numbers {
            Numbers::One(row) => vec![row],
            Numbers::Many(rows) => rows,
        };
        let width = rows.first().map_or(0, Vec::len);
        let values = rows.concat();
        if width == 0 || rows.iter().any(|row| row.len() != width) || values.iter().any(|v| !v.is_finite()) {
            return Err(bad(
                "its vectors are empty, of several widths or not finite: download it again".into()
            ));
        }
        let said = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(String::from);
        Ok(Self {
            place: place.into(),
            word: said(&saved.name),
            step: saved.step.as_u64(),
            trained_with: said(&saved.sd_checkpoint_name),
            towers: vec![Vectors { tower: Tower::Only, width, values }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_vector_or_several_of_one_width() {
        let read = |text: &str| TextualInversion::of_json("word.png", text.as_bytes());
        let word = read(
            r#"{"string_to_param": {"*": {"TORCHTENSOR": [[1, 2], [3, 4.5]]}}, "name": "ink", "step": 7}"#,
        );
        let word = word.unwrap();
        assert_eq!((word.word.as_deref(), word.step, word.count()), (Some("ink"), Some(7), 2));
        assert_eq!((word.towers[0].width, &word.towers[0].values[..]), (2, &[1.0, 2.0, 3.0, 4.5][..]));
        let one = read(r#"{"string_to_param": {"*": {"TORCHTENSOR": [1, 2]}}, "name": null, "step": null}"#)
            .unwrap();
        assert_eq!((one.word, one.step, one.towers[0].width), (None, None, 2));
        for (text, part) in [
            ("{", "cannot be read"),
            ("{}", "string_to_param"),
            (r#"{"string_to_param": {}}"#, "no word"),
            (r#"{"string_to_param": {"*": {"TORCHTENSOR": []}}}"#, "empty"),
            (r#"{"string_to_param": {"*": {"TORCHTENSOR": [[1], [2, 3]]}}}"#, "several widths"),
            (r#"{"string_to_param": {"*": {"TORCHTENSOR": [1e300]}}}"#, "not finite"),
            (r#"{"string_to_param": {"*": {"TORCHTENSOR": [NaN]}}}"#, "cannot be read"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("word.png") && error.contains(part), "no {part:?} in: {error}");
        }
    }
}
