use calotype_tensor::{Read, Result, TensorInfo, Tensors};
use std::ops::Range;

/// The VAE's attention as diffusers named it before 0.15, beside today's names. SD 1.x and 2.x VAEs on the hub still
/// have the old ones (diffusers: `ModelMixin._convert_deprecated_attention_blocks`). For [`Aliased::rename`].
pub const LEGACY_ATTENTION: [(&str, &str); 4] =
    [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];

/// A source in which a tensor may lie under another name than the one asked for.
///
/// A name is tried as it is, then with the optional prefix added or taken away, then each of these with the renames.
pub struct Aliased<S> {
    source: S,
    prefix: &'static str,
    renames: Vec<(&'static str, &'static str)>,
}

impl<S: Tensors> Aliased<S> {
    /// A source without aliases yet.
    pub fn new(source: S) -> Self {
        Self { source, prefix: "", renames: Vec::new() }
    }

    /// Names may have this prefix or not: `text_model.`, which transformers writes up to version 4 and drops in 5.
    pub fn optional_prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// Where a name contains the first text, it may be written with the second in its place.
    pub fn rename(mut self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.renames.extend_from_slice(pairs);
        self
    }

    fn candidates(&self, name: &str) -> Vec<String> {
        let mut all = vec![name.to_owned()];
        if !self.prefix.is_empty() {
            all.push(match name.strip_prefix(self.prefix) {
                Some(bare) => bare.to_owned(),
                None => format!("{}{name}", self.prefix),
            });
        }
        for i in 0..all.len() {
            let renamed = self.renames.iter().fold(all[i].clone(), |name, (from, to)| name.replace(from, to));
            if renamed != all[i] {
                all.push(renamed);
            }
        }
        all
    }
}

impl<S: Tensors> Tensors for Aliased<S> {
    /// The info carries the name that the checkpoint has.
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        // The plain name comes first and needs no allocation.
        let error = match self.source.get(name) {
            Err(error) if error.is_missing() => error,
            done => return done,
        };
        for other in &self.candidates(name)[1..] {
            match self.source.get(other) {
                Err(error) if error.is_missing() => {}
                done => return done,
            }
        }
        Err(error)
    }

    fn names(&self) -> Vec<&str> {
        self.source.names()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        match self.get(name) {
            Ok(info) => self.source.read(&info.name, range),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        self.source.as_stored(&self.get(name).ok()?.name)
    }

    fn describe(&self, name: &str) -> String {
        self.source.describe(self.get(name).map_or(name, |info| &info.name))
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.source.metadata(key)
    }

    fn release(&self, name: &str) {
        if let Ok(info) = self.get(name) {
            self.source.release(&info.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Declared, Init, Synthetic};
    use calotype_tensor::DType;

    fn source(names: &[&str]) -> Synthetic {
        let declared = names.iter().map(|name| Declared {
            name: (*name).into(),
            dtype: DType::F32,
            shape: vec![2],
            init: Init::Normal { std: 1.0 },
        });
        Synthetic::new(7, declared).unwrap()
    }

    #[test]
    fn a_prefix_may_be_there_or_not() {
        for stored in ["text_model.final_layer_norm.bias", "final_layer_norm.bias"] {
            let source = Aliased::new(source(&[stored])).optional_prefix("text_model.");
            for asked in ["text_model.final_layer_norm.bias", "final_layer_norm.bias"] {
                assert_eq!(source.get(asked).unwrap().name, stored);
                assert_eq!(pollster::block_on(source.read_all(asked)).unwrap().len(), 8);
            }
            assert!(source.get("bias").unwrap_err().to_string().contains("no tensor bias"));
        }
    }

    #[test]
    fn legacy_attention_names_are_found() {
        let names = ["a.query.weight", "a.key.weight", "a.value.weight", "a.proj_attn.weight"];
        let source = Aliased::new(source(&names)).rename(&LEGACY_ATTENTION);
        let asked = ["a.to_q.weight", "a.to_k.weight", "a.to_v.weight", "a.to_out.0.weight"];
        for (asked, stored) in asked.iter().zip(names) {
            assert_eq!(source.get(asked).unwrap().name, stored);
        }
    }
}
