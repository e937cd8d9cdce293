use crate::{Error, Result};
use calotype_sampling::diffusers::truthy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The fields of one configuration file. Each is taken once; [`finish`](Self::finish) refuses what is left over, so
/// that no field is ever overlooked.
pub(super) struct Fields {
    file: String,
    values: Map<String, Value>,
}

/// A number for all levels of a network, or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum PerLevel {
    All(usize),
    Each(Vec<usize>),
}

/// A square's side, or height and width.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Sides([usize; 2]),
}

impl Fields {
    /// Reads a JSON object; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(values) => Ok(Self { file: file.into(), values }),
            Err(error) => Err(Error::not_json(file, text, &error)),
        }
    }

    /// A field, or what its class has by default where it is absent.
    pub fn get<T: DeserializeOwned>(&mut self, field: &str, default: T) -> Result<T> {
        match self.values.remove(field) {
            None => Ok(default),
            Some(value) => self.of(field, value),
        }
    }

    /// A field's value as what it stands for.
    pub fn of<T: DeserializeOwned>(&self, field: &str, value: Value) -> Result<T> {
        T::deserialize(&value).map_err(|error| self.invalid(field, &value, error))
    }

    /// A field that is a number above zero.
    pub fn count(&mut self, field: &str, default: usize) -> Result<usize> {
        let count = self.get(field, default)?;
        self.check(count > 0, field, count, "must be at least 1")?;
        self.check_most(field, &[count])?;
        Ok(count)
    }

    /// A value that is a width: an even number above zero, half of which are sines.
    pub fn width(&self, field: &str, value: Value) -> Result<usize> {
        let width = self.of(field, value)?;
        self.check(width > 0 && width % 2 == 0, field, width, "must be an even number above zero")?;
        self.check_most(field, &[width])?;
        Ok(width)
    }

    /// A list of numbers above zero.
    pub fn counts(&mut self, field: &str, default: &[usize]) -> Result<Vec<usize>> {
        let counts = self.get(field, default.to_vec())?;
        let sound = !counts.is_empty() && !counts.contains(&0);
        self.check(sound, field, &counts, "must be one or more numbers of at least 1")?;
        self.check_most(field, &counts)?;
        Ok(counts)
    }

    /// A number of at least `least` for each of `levels` levels, written as one number or as a list.
    pub fn per_level(
        &mut self,
        field: &str,
        default: usize,
        levels: usize,
        least: usize,
    ) -> Result<Vec<usize>> {
        let each = match self.get(field, PerLevel::All(default))? {
            PerLevel::All(number) => vec![number; levels],
            PerLevel::Each(numbers) => numbers,
        };
        let why = format!("must be one number, or one for each of the {levels} blocks, of at least {least}");
        self.check(each.len() == levels && each.iter().all(|n| *n >= least), field, &each, why)?;
        self.check_most(field, &each)?;
        Ok(each)
    }

    /// A number for each of a level's layers, of which there are `more` than `layers`: one for all levels, one for each level
    /// or one for each of its layers.
    pub fn layer_by_layer(
        &self,
        field: &str,
        value: &Value,
        layers: &[usize],
        more: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let why = || {
            let counts: Vec<usize> = layers.iter().map(|layers| layers + more).collect();
            format!(
                "must be one number, one for each block, or one for each of the blocks' layers ({counts:?})"
            )
        };
        let levels = match value {
            Value::Array(levels) => levels.clone(),
            one => vec![one.clone(); layers.len()],
        };
        self.check(levels.len() == layers.len(), field, value, why())?;
        let mut all = Vec::new();
        for (level, layers) in levels.iter().zip(layers) {
            let depths = match self.of(field, level.clone())? {
                PerLevel::All(number) => vec![number; layers + more],
                PerLevel::Each(numbers) => numbers,
            };
            self.check(depths.len() == layers + more, field, value, why())?;
            self.check_most(field, &depths)?;
            all.push(depths);
        }
        Ok(all)
    }

    /// No network is so large: a typing error must not become a graph of a million layers, or sizes that overflow.
    fn check_most(&self, field: &str, counts: &[usize]) -> Result<()> {
        let most = if field.contains("layers") { 128 } else { 1 << 20 };
        self.check(counts.len() <= 16, field, counts, "must be for at most 16 blocks")?;
        self.check(counts.iter().all(|n| *n <= most), field, counts, format!("must be at most {most}"))
    }

    /// What is added to a variance: a number from zero.
    pub fn epsilon(&mut self, field: &str, default: f32) -> Result<f32> {
        let number: f32 = self.get(field, default)?;
        self.check(number.is_finite() && number >= 0.0, field, number, "must be a number from 0")?;
        Ok(number)
    }

    /// A number that something is divided by.
    pub fn divisor(&mut self, field: &str, default: f32) -> Result<f32> {
        let number: f32 = self.get(field, default)?;
        self.check(number.is_finite() && number != 0.0, field, number, "must be a number other than 0")?;
        Ok(number)
    }

    /// A switch, as Python's `if` takes what is written there: null, false, 0 and what is empty are off, all else is on.
    pub fn flag(&mut self, field: &str, default: bool) -> bool {
        self.values.remove(field).map_or(default, |value| truthy(&value))
    }

    /// A switch that has to be off.
    pub fn off(&mut self, field: &str) -> Result<()> {
        match self.values.remove(field) {
            Some(value) if truthy(&value) => Err(self.unsupported(field, &value, "false")),
            _ => Ok(()),
        }
    }

    /// Another object's fields in place of these, where there are any of that name.
    pub fn within(mut self, field: &str) -> Result<Self> {
        match self.values.remove(field) {
            None => Ok(self),
            Some(Value::Object(values)) => Ok(Self { file: self.file, values }),
            Some(other) => Err(self.invalid(field, &other, "must be an object")),
        }
    }

    /// Height and width, written as a list or as one number for both.
    pub fn size_of(&self, field: &str, value: Value) -> Result<Option<[usize; 2]>> {
        let size = match self.of(field, value)? {
            None => return Ok(None),
            Some(Size::Side(side)) => [side, side],
            Some(Size::Sides(sides)) => sides,
        };
        self.check(!size.contains(&0), field, size, "must be at least 1")?;
        self.check_most(field, &size)?;
        Ok(Some(size))
    }

    /// A field whose value is one of a few words, as the thing that the word stands for.
    pub fn word<T: Copy>(&mut self, field: &str, default: &str, known: &[(&str, T)]) -> Result<T> {
        let word: Value = self.get(field, json!(default))?;
        self.look_up(field, &word, known)
    }

    /// A list of such words.
    pub fn words<T: Copy>(&mut self, field: &str, default: &[&str], known: &[(&str, T)]) -> Result<Vec<T>> {
        let words: Vec<Value> = self.get(field, default.iter().map(|word| json!(word)).collect())?;
        words.iter().map(|word| self.look_up(field, word, known)).collect()
    }

    /// What one of a few words stands for.
    pub fn look_up<T: Copy>(&self, field: &str, word: &Value, known: &[(&str, T)]) -> Result<T> {
        let found = known.iter().find(|(name, _)| word == name);
        found.map(|(_, thing)| *thing).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            self.unsupported(field, word, &names.join(", "))
        })
    }

    /// A field that is understood at one of these values only (the first is its class's default).
    pub fn only(&mut self, field: &str, accepted: &[Value]) -> Result<()> {
        let Some(value) = self.values.remove(field) else { return Ok(()) };
        // 1 and 1.0 are the same number, but not the same JSON.
        let same = |one: &Value| one == &value || (one.is_number() && one.as_f64() == value.as_f64());
        if accepted.iter().any(same) {
            return Ok(());
        }
        let accepted: Vec<String> = accepted.iter().map(Value::to_string).collect();
        Err(self.unsupported(field, &value, &accepted.join(" or ")))
    }

    /// Fields that change nothing in inference.
    pub fn inert(&mut self, fields: &[&str]) {
        for field in fields {
            self.values.remove(*field);
        }
    }

    /// Passes over components that are said to be absent, `[null, null]`.
    pub fn no_components(&mut self) {
        self.values.retain(|_, value| *value != json!([null, null]));
    }

    /// Whether a component is said to be absent, or not spoken of.
    pub fn is_no_component(&self, field: &str) -> bool {
        self.values.get(field).is_none_or(|value| value.is_null() || *value == json!([null, null]))
    }

    /// The class that a field names must be one of these.
    pub fn class_of(&self, field: &str, class: Value, supported: &[&str]) -> Result<()> {
        if supported.iter().any(|one| class == *one) {
            return Ok(());
        }
        Err(Error::Class {
            file: self.file.clone(),
            field: field.into(),
            class: class.as_str().map_or_else(|| class.to_string(), str::to_owned),
            supported: supported.join(" or "),
        })
    }

    /// Fails unless `sound`.
    pub fn check(
        &self,
        sound: bool,
        field: &str,
        value: impl serde::Serialize,
        why: impl std::fmt::Display,
    ) -> Result<()> {
        if sound { Ok(()) } else { Err(self.invalid(field, &json!(value), why)) }
    }

    /// Nothing may be left but what writers note for themselves, under names that begin with an underscore, and what
    /// is null: whatever it is about is not there.
    pub fn finish(self) -> Result<()> {
        match self.values.into_iter().find(|(field, value)| !field.starts_with('_') && !value.is_null()) {
            None => Ok(()),
            Some((field, value)) => Err(Error::Unknown { file: self.file, field, value: value.to_string() }),
        }
    }

    fn invalid(&self, field: &str, value: &Value, why: impl std::fmt::Display) -> Error {
        let (file, field, why) = (self.file.clone(), field.into(), why.to_string());
        // Serde's word for a list or a number that did not fit tells a user nothing.
        let why =
            if why.contains("untagged enum") { "must be a number or a list of numbers".into() } else { why };
        Error::Invalid { file, field, value: value.to_string(), why }
    }

    pub fn unsupported(&self, field: &str, value: &Value, supported: &str) -> Error {
        let (file, field, supported) = (self.file.clone(), field.into(), supported.into());
        Error::Unsupported { file, field, value: value.to_string(), supported }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse("unet/config.json", text).unwrap()
    }

    #[test]
    fn what_is_left_over_is_refused_by_name_and_value() {
        let mut f = fields(r#"{"a": 1, "new_trick": [2], "_note": 3, "absent": null}"#);
        assert_eq!(f.get("a", 0).unwrap(), 1);
        let error = f.finish().unwrap_err().to_string();
        assert!(error.starts_with("unet/config.json: unknown field new_trick = [2]"), "{error}");
    }

    #[test]
    fn numbers_come_alone_or_by_level() {
        let mut f =
            fields(r#"{"one": 8, "each": [5, 10], "short": [5], "text": "x", "zero": 0, "size": [3, 4]}"#);
        assert_eq!(f.per_level("one", 1, 3, 1).unwrap(), [8, 8, 8]);
        assert_eq!(f.per_level("each", 1, 2, 1).unwrap(), [5, 10]);
        assert_eq!(f.per_level("absent", 1, 2, 1).unwrap(), [1, 1]);
        assert!(f.per_level("short", 1, 2, 1).unwrap_err().to_string().contains("short = [5]: must be"));
        assert!(f.per_level("text", 1, 2, 1).unwrap_err().to_string().contains("a number or a list"));
        assert!(f.count("zero", 1).unwrap_err().to_string().contains("zero = 0"));
        assert_eq!(f.size_of("size", json!([3, 4])).unwrap(), Some([3, 4]));
        assert_eq!(f.size_of("size", json!(2)).unwrap(), Some([2, 2]));
        assert_eq!(f.size_of("size", json!(null)).unwrap(), None);
        assert!(f.size_of("size", json!([1])).unwrap_err().to_string().contains("size = [1]"));
    }

    #[test]
    fn switches_are_taken_as_python_takes_them() {
        let mut f =
            fields(r#"{"a": null, "b": 0, "c": "", "d": [], "e": false, "f": 1, "g": "false", "h": [0]}"#);
        for (field, on) in [
            ("a", false),
            ("b", false),
            ("c", false),
            ("d", false),
            ("e", false),
            ("f", true),
            ("g", true),
            ("h", true),
        ] {
            assert_eq!(f.flag(field, !on), on, "{field}");
        }
        assert!(f.flag("absent", true) && !f.flag("absent", false));
        let mut f = fields(r#"{"a": null, "b": "yes"}"#);
        f.off("a").unwrap();
        assert!(f.off("b").unwrap_err().to_string().contains(r#"b = "yes" is not supported; false is"#));
    }

    #[test]
    fn values_beyond_the_neutral_one_are_refused() {
        let mut f = fields(r#"{"scale": 1.0, "trick": true, "class": "Other"}"#);
        f.only("scale", &[json!(1)]).unwrap();
        let error = f.only("trick", &[json!(false)]).unwrap_err().to_string();
        assert_eq!(error, "unet/config.json: trick = true is not supported; false is");
        let error = f.class_of("class", json!("Other"), &["This", "That"]).unwrap_err().to_string();
        assert!(error.contains("class is Other, which is not supported; This or That is"), "{error}");
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in ["", "[]", "{", "{\"a\": }"] {
            assert!(matches!(Fields::parse("f", text), Err(Error::NotJson { .. })));
        }
    }
}
