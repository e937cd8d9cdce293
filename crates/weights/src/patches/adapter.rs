//! What PEFT says of a LoRA beside its tensors.

use regex_lite::Regex;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The fields of PEFT's `LoraConfig` that decide the scale.
#[derive(Debug, Default)]
pub struct Adapter {
    lora_alpha: Option<f32>,
    /// By what paths end with, in the file's order, of which the first that fits counts.
    alphas: Vec<(Regex, f32)>,
    use_rslora: bool,
}

/// Fields that make another change of it, unless they are null, false or empty.
const OFF: [&str; 4] = ["use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens"];

/// Beginnings with which `init_lora_weights` changes the model's own weights too.
const CHANGES_THE_MODEL: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

impl Adapter {
    /// Reads the fields that begin with `prefix` from a JSON object. The error is what is wrong with it.
    pub fn parse(text: &str, prefix: &str) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let adapter = Fields(prefix).deserialize(&mut json).map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(adapter)
    }

    /// What `B·A` is multiplied with: `alpha`, or what is said here of a layer, by its rank (or the root of it:
    /// Kalajdzievski 2023, arXiv:2312.03732).
    pub fn factor(&self, path: &str, alpha: Option<f32>, rank: f32) -> f32 {
        let own = || self.alphas.iter().find(|(end, _)| end.is_match(path)).map(|(_, alpha)| *alpha);
        let alpha = alpha.or_else(own).or(self.lora_alpha).unwrap_or(rank);
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    fn set(&mut self, field: &str, value: Value) -> Result<(), String> {
        let wrong = |value: &Value, wanted: &str| Err(format!("{field} = {value}: {wanted}"));
        match (field, value) {
            ("lora_alpha" | "use_rslora" | "peft_type" | "init_lora_weights", Value::Null) => {}
            ("lora_alpha", value) => self.lora_alpha = Some(number(field, &value)?),
            ("use_rslora", Value::Bool(value)) => self.use_rslora = value,
            ("use_rslora", value) => return wrong(&value, "true or false is needed"),
            ("peft_type", value) if value != "LORA" => return wrong(&value, "only LORA is read"),
            ("init_lora_weights", Value::String(way))
                if CHANGES_THE_MODEL.iter().any(|m| way.starts_with(m)) =>
            {
                let why = "it changes the model's own weights too, which is not supported; convert it to a plain LoRA \
                           with PEFT (path_initial_model_for_weight_conversion)";
                return wrong(&Value::String(way), why);
            }
            (field, value) if OFF.contains(&field) && !is_off(&value) => {
                return wrong(&value, "it is not supported");
            }
            _ => {}
        }
        Ok(())
    }
}

fn number(field: &str, value: &Value) -> Result<f32, String> {
    value.as_f64().map(|v| v as f32).ok_or_else(|| format!("{field} = {value}: a number is needed"))
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The fields behind a prefix.
struct Fields<'a>(&'a str);

/// Patterns with their alphas, in the file's order.
struct Patterns;

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Adapter;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Adapter, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Adapter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PEFT's fields of a LoRA")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Adapter, A::Error> {
        let mut adapter = Adapter::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.strip_prefix(self.0) {
                Some("alpha_pattern") => adapter.alphas = map.next_value_seed(Patterns)?,
                Some(field) => adapter.set(field, map.next_value()?).map_err(serde::de::Error::custom)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(adapter)
    }
}

impl<'de> DeserializeSeed<'de> for Patterns {
    type Value = Vec<(Regex, f32)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Patterns {
    type Value = Vec<(Regex, f32)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("alpha_pattern, an object of numbers")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some((pattern, alpha)) = map.next_entry::<String, Value>()? {
            let alpha = number("alpha_pattern", &alpha).map_err(serde::de::Error::custom)?;
            // As PEFT's `get_pattern_key` matches.
            let end = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let end =
                end.map_err(|_| serde::de::Error::custom(format!("alpha_pattern {pattern} is no pattern")))?;
            patterns.push((end, alpha));
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(text: &str, path: &str) -> f32 {
        Adapter::parse(text, "").unwrap().factor(path, None, 4.0)
    }

    #[test]
    fn alphas_are_found_as_peft_finds_them() {
        let text =
            r#"{"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 4, "to_[qk]": 2, "^mid.to_v": 1}}"#;
        let cases =
            [("x.attn1.to_q", 1.0), ("x.to_q", 0.5), ("to_k", 0.5), ("xto_k", 2.0), ("mid.to_v", 0.25)];
        for (path, expected) in cases {
            assert_eq!(factor(text, path), expected, "{path}");
        }
        assert_eq!(factor(text, "x.mid.to_v"), 2.0);
        assert_eq!(factor(r#"{"lora_alpha": 8, "use_rslora": true}"#, "a"), 4.0);
        for silent in ["{}", r#"{"lora_alpha": null, "alpha_pattern": null, "use_rslora": null}"#] {
            assert_eq!(factor(silent, "a"), 1.0);
        }
        let own = Adapter::parse(text, "").unwrap().factor("x.to_q", Some(16.0), 4.0);
        assert_eq!(own, 4.0);
    }

    #[test]
    fn a_prefix_chooses_the_fields() {
        let text = r#"{"unet.lora_alpha": 2, "text_encoder.lora_alpha": 3, "lora_alpha": 5}"#;
        let alpha = |prefix| Adapter::parse(text, prefix).unwrap().factor("a", None, 1.0);
        assert_eq!([alpha("unet."), alpha("text_encoder."), alpha("")], [2.0, 3.0, 5.0]);
    }

    #[test]
    fn what_is_no_lora_is_refused_by_its_field() {
        let cases = [
            (r#"{"peft_type": "LOHA"}"#, "peft_type"),
            (r#"{"use_qalora": true}"#, "use_qalora"),
            (r#"{"init_lora_weights": "pissa_niter_4"}"#, "init_lora_weights"),
            (r#"{"lora_alpha": "many"}"#, "lora_alpha"),
            (r#"{"alpha_pattern": {"(": 1}}"#, "alpha_pattern ("),
            (r#"{"alpha_pattern": [1]}"#, "alpha_pattern"),
            (r#"{"use_rslora": 2}"#, "use_rslora"),
            ("[]", "PEFT"),
        ];
        for (text, part) in cases {
            let error = Adapter::parse(text, "").unwrap_err();
            assert!(error.contains(part), "no {part:?} in: {error}");
        }
        let fine = r#"{"peft_type": "LORA", "use_dora": true, "lora_bias": true, "layer_replication": null, "init_lora_weights": true}"#;
        assert!(Adapter::parse(fine, "").is_ok());
    }
}
