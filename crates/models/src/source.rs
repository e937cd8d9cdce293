use calotype_tensor::Tensors;
use calotype_weights::{Aliased, LEGACY_ATTENTION};

/// A component's checkpoint under the names that graphs have for its tensors: those of today's exporters. Checkpoints of
/// older or newer ones are understood too: `text_model.` may be missing (transformers 5 drops it), and the VAE's attention
/// may be called `query`, `key`, `value` and `proj_attn`.
pub fn in_graphs<S: Tensors>(checkpoint: S) -> Aliased<S> {
    Aliased::new(checkpoint).optional_prefix("text_model.").rename(&LEGACY_ATTENTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_graph::{Graph, Layout, Precision};
    use calotype_tensor::{DType, Shape};
    use calotype_weights::{Declared, Init, Synthetic};

    fn source() -> Aliased<Synthetic> {
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
        in_graphs(Synthetic::new(0, declared).unwrap())
    }

    #[test]
    fn tensors_are_found_under_the_names_of_other_exporters() {
        let source = source();
        for (name, shape) in [
            ("text_model.final_layer_norm.weight", &[4][..]),
            ("mid.attentions.0.to_q.weight", &[4, 4, 1, 1]),
        ] {
            assert_eq!(source.get(name).unwrap().shape, shape);
            let bytes = pollster::block_on(source.read_all(name)).unwrap();
            assert!(bytes.chunks(2).all(|half| half == [0x00, 0x3c]), "{name}");
        }
    }

    #[test]
    fn what_a_graph_cannot_take_is_named_with_its_file() {
        let error = |names: &[&str]| {
            let mut graph = Graph::new("unet");
            let shape = Shape::new(&[4, 4]);
            graph.weight(names, shape, Layout::Matrix, shape);
            graph.resolve(&source(), Precision::F32).unwrap_err().to_string()
        };
        let missing = error(&["conv_in.weight", "conv_first.weight"]);
        assert!(
            missing.starts_with("synthetic weights, seed 0: no tensor conv_in.weight (the near"),
            "{missing}"
        );
        assert_eq!(
            error(&["conv_in.weight", "video.weight"]),
            "tensor video.weight in synthetic weights, seed 0 has shape [1, 2, 3, 4, 5], but the model's config.json \
             implies [4, 4]"
        );
    }
}
