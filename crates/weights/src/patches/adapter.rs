//! What PEFT says of a change beside its tensors.

use regex_lite::Regex;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// The fields of PEFT's configurations (`tuners/*/config.py`) that decide what is made of the tensors.
#[derive(Debug)]
pub struct Adapter {
    alpha: Option<f64>,
    /// By what paths end with, in the file's order, of which the first that fits counts.
    alphas: Patterns,
    use_rslora: bool,
    /// LoKr's and LoHa's rank, which tensors may not tell.
    rank: Option<f64>,
    ranks: Patterns,
    /// The layers whose inputs (IA)³ changes.
    feedforward: Vec<Regex>,
    /// Of OFT's rotations: whether they are formed by a series, of how many terms, whether what they are formed of is bounded,
    /// and by what.
    use_cayley_neumann: bool,
    terms: u32,
    coft: bool,
    eps: f64,
}

/// Numbers by what paths end with.
type Patterns = Vec<(Regex, f64)>;

impl Default for Adapter {
    fn default() -> Self {
        Self {
            alpha: None,
            alphas: Vec::new(),
            use_rslora: false,
            rank: None,
            ranks: Vec::new(),
            feedforward: Vec::new(),
            use_cayley_neumann: true,
            terms: 5,
            coft: false,
            eps: 6e-5,
        }
    }
}

/// More terms than anyone needs.
const MOST_TERMS: u64 = 100;

/// The kinds of change that are read, by PEFT's names.
const READ: [&str; 6] = ["LORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT"];

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

    /// What a product is multiplied with: `alpha`, or what is said here of a layer, by its rank (or the root of it:
    /// Kalajdzievski 2023, arXiv:2312.03732).
    pub fn factor(&self, path: &str, alpha: Option<f64>, rank: f64) -> f64 {
        let alpha = alpha.or_else(|| of(&self.alphas, path)).or(self.alpha).unwrap_or(rank);
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The rank that a layer is said to have.
    pub fn rank(&self, path: &str) -> Option<f64> {
        of(&self.ranks, path).or(self.rank)
    }

    /// Of how many terms of Neumann's series OFT's rotations are formed, where they are not solved for.
    pub fn series(&self) -> Option<u32> {
        self.use_cayley_neumann.then_some(self.terms)
    }

    /// How large the numbers of all of OFT's rotations may be, if that is bounded (Qiu et al. 2023, constrained OFT).
    pub fn bound(&self) -> Option<f64> {
        self.coft.then_some(self.eps)
    }

    /// Whether (IA)³ changes a layer's inputs.
    pub fn feeds_forward(&self, path: &str) -> bool {
        self.feedforward.iter().any(|end| end.is_match(path))
    }

    fn set(&mut self, field: &str, value: Value) -> Result<(), String> {
        let wrong = |value: &Value, wanted: &str| Err(format!("{field} = {value}: {wanted}"));
        match (field, value) {
            (
                "lora_alpha" | "alpha" | "r" | "use_rslora" | "peft_type" | "init_lora_weights",
                Value::Null,
            ) => {}
            ("feedforward_modules" | "use_cayley_neumann" | "num_cayley_neumann_terms", Value::Null) => {}
            ("coft" | "eps", Value::Null) => {}
            ("lora_alpha" | "alpha", value) => self.alpha = Some(number(field, &value)?),
            ("r", value) => self.rank = Some(number(field, &value)?).filter(|rank| *rank > 0.0),
            ("use_rslora", value) => self.use_rslora = flag(field, &value)?,
            ("feedforward_modules", value) => self.feedforward = modules(field, &value)?,
            ("use_cayley_neumann", value) => self.use_cayley_neumann = flag(field, &value)?,
            ("num_cayley_neumann_terms", value) => match value.as_u64() {
                Some(terms) if terms <= MOST_TERMS => self.terms = terms as u32,
                _ => return wrong(&value, &format!("a number of terms up to {MOST_TERMS} is needed")),
            },
            ("coft", value) => self.coft = flag(field, &value)?,
            ("eps", value) => self.eps = number(field, &value)?,
            ("peft_type", value) if !READ.iter().any(|kind| value == *kind) => {
                return wrong(&value, &format!("only {} are read", READ.join(", ")));
            }
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

fn of(patterns: &Patterns, path: &str) -> Option<f64> {
    patterns.iter().find(|(end, _)| end.is_match(path)).map(|(_, number)| *number)
}

fn number(field: &str, value: &Value) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("{field} = {value}: a number is needed"))
}

fn flag(field: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{field} = {value}: true or false is needed"))
}

/// Layers by the ends of their paths, or by a pattern of the whole (PEFT: `IA3Model._check_target_module_feedforward`).
fn modules(field: &str, value: &Value) -> Result<Vec<Regex>, String> {
    let wrong = || format!("{field} = {value}: a list of layers' names, or a pattern, is needed");
    let patterns: Option<Vec<String>> = match value {
        Value::String(pattern) => Some(vec![format!("^(?:{pattern})$")]),
        Value::Array(ends) => {
            ends.iter().map(|end| end.as_str().map(|end| format!("{}$", regex_lite::escape(end)))).collect()
        }
        _ => None,
    };
    let patterns = patterns.ok_or_else(wrong)?;
    patterns.iter().map(|pattern| Regex::new(pattern).map_err(|_| wrong())).collect()
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

/// Patterns with their numbers, in the file's order, of a field.
struct Numbers(&'static str);

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
                Some("alpha_pattern") => adapter.alphas = map.next_value_seed(Numbers("alpha_pattern"))?,
                Some("rank_pattern") => adapter.ranks = map.next_value_seed(Numbers("rank_pattern"))?,
                Some(field) => adapter.set(field, map.next_value()?).map_err(serde::de::Error::custom)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(adapter)
    }
}

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Patterns;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Patterns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, an object of numbers", self.0)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some((pattern, value)) = map.next_entry::<String, Value>()? {
            let value = number(self.0, &value).map_err(serde::de::Error::custom)?;
            // As PEFT's `get_pattern_key` matches.
            let end = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let end =
                end.map_err(|_| serde::de::Error::custom(format!("{} {pattern} is no pattern", self.0)))?;
            patterns.push((end, value));
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(text: &str, path: &str) -> f64 {
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
    fn ranks_and_series_are_what_the_fields_say() {
        let text = r#"{"peft_type": "LOKR", "r": 8, "alpha": 4, "rank_pattern": {"to_q": 2}}"#;
        let lokr = Adapter::parse(text, "").unwrap();
        assert_eq!([lokr.rank("x.to_q"), lokr.rank("x.to_k")], [Some(2.0), Some(8.0)]);
        assert_eq!(lokr.factor("x.to_q", None, 2.0), 2.0);
        let oft = |text| Adapter::parse(text, "").unwrap();
        assert_eq!((oft("{}").series(), oft("{}").bound()), (Some(5), None));
        let solved =
            oft(r#"{"num_cayley_neumann_terms": 3, "use_cayley_neumann": false, "eps": 0.5, "coft": true}"#);
        assert_eq!((solved.series(), solved.bound()), (None, Some(0.5)));
        let ia3 = |text| oft(text).feeds_forward("a.ff.net.2");
        for text in
            [r#"{"feedforward_modules": ["net.0", "net.2"]}"#, r#"{"feedforward_modules": "a.*net.\\d"}"#]
        {
            assert!(ia3(text), "{text}");
        }
        assert!(!ia3(r#"{"feedforward_modules": ["net_2"]}"#));
    }

    #[test]
    fn what_is_no_lora_is_refused_by_its_field() {
        let cases = [
            (r#"{"peft_type": "VERA"}"#, "peft_type"),
            (r#"{"feedforward_modules": 3}"#, "feedforward_modules"),
            (r#"{"feedforward_modules": "("}"#, "feedforward_modules"),
            (r#"{"num_cayley_neumann_terms": 1e9}"#, "num_cayley_neumann_terms"),
            (r#"{"rank_pattern": {"(": 1}}"#, "rank_pattern ("),
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
