use calotype_graph::{LocalFuture, WeightFetch};
use calotype_tensor::{DType, Shape};
use calotype_weights::{Aliased, Error, LEGACY_ATTENTION, TensorInfo, WeightSource};
use std::borrow::Cow;
use std::cell::RefCell;

/// The most axes a tensor of these models has: those of a convolution's kernel.
const MOST_AXES: usize = 4;

/// A checkpoint as graphs ask for it.
///
/// Graphs name tensors as today's exporters do. Checkpoints of older or newer ones are understood too: `text_model.`
/// may be missing (transformers 5 drops it), and the VAE's attention may be called `query`, `key`, `value` and
/// `proj_attn`.
pub struct Source<S> {
    checkpoint: Aliased<S>,
    /// What was fetched last: its mapped pages may go when the next one is wanted.
    last: RefCell<Option<String>>,
}

impl<S: WeightSource> Source<S> {
    /// Lends the tensors of one component's checkpoint.
    pub fn new(checkpoint: S) -> Self {
        let checkpoint = Aliased::new(checkpoint).optional_prefix("text_model.").rename(&LEGACY_ATTENTION);
        Self { checkpoint, last: RefCell::default() }
    }

    /// What is known of a tensor, under the checkpoint's own name for it.
    pub(crate) fn stored(&self, name: &str) -> calotype_weights::Result<&TensorInfo> {
        self.checkpoint.get(name)
    }

    /// A tensor that a graph could take.
    fn get(&self, name: &str) -> Result<&TensorInfo, String> {
        match self.checkpoint.get(name) {
            Ok(info) if info.shape.len() > MOST_AXES => Err(format!(
                "{}: tensor {} has shape {:?}, and no tensor of this model has more than {MOST_AXES} axes; \
                 config.json and weights are of different models",
                self.file(name),
                info.name,
                info.shape
            )),
            found => found.map_err(|error| error.to_string()),
        }
    }
}

impl<S: WeightSource> WeightFetch for Source<S> {
    fn find(&self, name: &str) -> Option<(DType, Shape)> {
        self.get(name).ok().map(|info| (info.dtype, Shape::new(&info.shape)))
    }

    fn file(&self, name: &str) -> String {
        self.checkpoint.describe(name)
    }

    /// Says what is wrong with the first of `names` that is there but cannot be read; else that the first is missing.
    fn missing(&self, names: &[String]) -> String {
        let unreadable = |name: &&String| !matches!(self.checkpoint.get(name), Err(Error::Missing { .. }));
        names
            .iter()
            .find(unreadable)
            .or(names.first())
            .and_then(|name| self.get(name).err())
            .unwrap_or_default()
    }

    fn fetch<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Cow<'a, [u8]>, String>> {
        if let Some(last) = self.last.replace(Some(name.to_owned()))
            && last != name
        {
            self.checkpoint.release(&last);
        }
        Box::pin(async move { self.checkpoint.read_all(name).await.map_err(|error| error.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_weights::{Declared, Init, Synthetic};

    fn source() -> Source<Synthetic> {
        let tensors: [(&str, &[usize]); 3] = [
            ("final_layer_norm.weight", &[4]),
            ("mid.attentions.0.query.weight", &[4, 4, 1, 1]),
            ("video.weight", &[1, 2, 3, 4, 5]),
        ];
        let declared = tensors.map(|(name, shape)| Declared {
            name: name.into(),
            dtype: DType::F16,
            shape: shape.to_vec(),
            init: Init::Constant(1.0),
        });
        Source::new(Synthetic::new(0, declared).unwrap())
    }

    #[test]
    fn tensors_are_found_under_the_names_of_other_exporters() {
        let source = source();
        assert_eq!(source.find("text_model.final_layer_norm.weight"), Some((DType::F16, Shape::new(&[4]))));
        assert_eq!(source.find("mid.attentions.0.to_q.weight").unwrap().1, Shape::new(&[4, 4, 1, 1]));
        for name in ["text_model.final_layer_norm.weight", "mid.attentions.0.to_q.weight"] {
            let bytes = pollster::block_on(source.fetch(name)).unwrap();
            assert!(bytes.chunks(2).all(|half| half == [0x00, 0x3c]), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_lent_is_named_with_its_file() {
        let source = source();
        assert_eq!(source.find("conv_in.weight"), None);
        let error = source.missing(&["conv_in.weight".into(), "conv_first.weight".into()]);
        assert!(error.contains("synthetic weights, seed 0: no tensor conv_in.weight"), "{error}");
        assert_eq!(source.find("video.weight"), None);
        let error = source.missing(&["conv_in.weight".into(), "video.weight".into()]);
        assert!(error.contains("tensor video.weight has shape [1, 2, 3, 4, 5]"), "{error}");
        assert!(pollster::block_on(source.fetch("conv_in.weight")).unwrap_err().contains("conv_in.weight"));
    }
}
