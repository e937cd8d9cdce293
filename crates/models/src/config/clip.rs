use super::{Activation, fields::Fields};
use crate::Result;
use serde_json::{Value, json};

/// `text_encoder/config.json`: CLIP's text transformer (transformers: `CLIPTextConfig`).
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTextConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the hidden states, which is what the UNet attends to.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// How many transformer layers. Stable Diffusion 2 ships 23 of OpenCLIP's 24: its penultimate layer is the last.
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Between the two feed-forward layers.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// Begins a sequence. Published configurations hold 0 here, so the tokenizer's word counts, not this.
    pub bos_token_id: Option<u32>,
    /// Ends a sequence; the same caution holds.
    pub eos_token_id: Vec<u32>,
    /// Fills a sequence; the same caution holds.
    pub pad_token_id: Option<u32>,
}

/// What belongs to training, to heads that Stable Diffusion does not use, and to transformers itself.
const INERT: [&str; 23] = [
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "chunk_size_feed_forward",
    "dropout",
    "dtype",
    "gradient_checkpointing",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "projection_dim",
    "return_dict",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "use_return_dict",
];

impl ClipTextConfig {
    /// Reads the configuration; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        f.class("model_type", "clip_text_model")?;
        f.inert(&INERT);

        let eos_token_id = match f.get("eos_token_id", json!(49407))? {
            Value::Array(ids) => json!(ids),
            Value::Null => json!([]),
            id => json!([id]),
        };
        let config = Self {
            vocab_size: f.count("vocab_size", 49408)?,
            hidden_size: f.count("hidden_size", 512)?,
            intermediate_size: f.count("intermediate_size", 2048)?,
            num_hidden_layers: f.count("num_hidden_layers", 12)?,
            num_attention_heads: f.count("num_attention_heads", 8)?,
            max_position_embeddings: f.count("max_position_embeddings", 77)?,
            hidden_act: Activation::transformers(&mut f, "hidden_act", "quick_gelu")?,
            layer_norm_eps: f.positive("layer_norm_eps", 1e-5)?,
            bos_token_id: f.get("bos_token_id", Some(49406))?,
            eos_token_id: serde_json::from_value(eos_token_id.clone()).or_else(|_| {
                f.check(false, "eos_token_id", &eos_token_id, "must be a token id").map(|()| Vec::new())
            })?,
            pad_token_id: f.get("pad_token_id", Some(1))?,
        };

        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        f.check(
            width.is_multiple_of(heads),
            "num_attention_heads",
            heads,
            format!("must divide hidden_size {width}"),
        )?;
        f.check(
            config.max_position_embeddings >= 2,
            "max_position_embeddings",
            1,
            "leaves no room for a prompt",
        )?;
        f.finish()?;
        Ok(config)
    }

    /// Channels of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ClipTextConfig> {
        ClipTextConfig::parse("text_encoder/config.json", text)
    }

    #[test]
    fn absent_fields_have_the_defaults_of_transformers() {
        let config = parse("{}").unwrap();
        assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (49408, 512, 2048));
        assert_eq!((config.num_hidden_layers, config.num_attention_heads, config.head_dim()), (12, 8, 64));
        assert_eq!((config.max_position_embeddings, config.hidden_act), (77, Activation::QuickGelu));
        assert_eq!(config.layer_norm_eps, 1e-5);
        assert_eq!((config.bos_token_id, config.pad_token_id), (Some(49406), Some(1)));
        assert_eq!(config.eos_token_id, [49407]);
    }

    #[test]
    fn activations_go_by_their_many_names() {
        for (name, act) in [
            ("gelu", Activation::Gelu),
            ("gelu_new", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
            ("quick_gelu", Activation::QuickGelu),
        ] {
            assert_eq!(parse(&format!(r#"{{"hidden_act": "{name}"}}"#)).unwrap().hidden_act, act);
        }
        let error = parse(r#"{"hidden_act": "relu6"}"#).unwrap_err().to_string();
        assert!(error.contains("hidden_act = \"relu6\" is not supported; quick_gelu, gelu"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, part) in [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads = 7: must divide hidden_size 512"),
            (r#"{"model_type": "t5"}"#, "model_type is t5"),
            (r#"{"rope_theta": 1}"#, "unknown field rope_theta = 1"),
            (r#"{"hidden_size": null}"#, "hidden_size = null"),
            (r#"{"layer_norm_eps": 0}"#, "layer_norm_eps = 0.0"),
            (r#"{"eos_token_id": "x"}"#, "eos_token_id"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("text_encoder/config.json: ") && error.contains(part), "{error}");
        }
        assert_eq!(parse(r#"{"eos_token_id": [2, 3], "pad_token_id": null}"#).unwrap().eos_token_id, [2, 3]);
    }
}
