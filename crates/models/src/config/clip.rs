use super::{Activation, fields::Fields};
use crate::{Result, Role};

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
}

/// A text encoder, and what a model takes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEncoder {
    /// Which of the model's.
    pub role: Role,
    /// Its numbers.
    pub clip: ClipTextConfig,
    /// Whether its states are those before its last layer, as they are, rather than after it, normalised.
    pub penultimate: bool,
    /// Width of the vector that it also projects the whole prompt to, where it does (transformers:
    /// `CLIPTextModelWithProjection`).
    pub pooled: Option<usize>,
}

impl TextEncoder {
    /// Reads the configuration of the encoder in a role; `file` names it in errors.
    pub fn parse(role: Role, penultimate: bool, file: &str, text: &str) -> Result<Self> {
        let clip = ClipTextConfig::parse(file, text)?;
        let width = || Fields::parse(file, text)?.within("text_config")?.count("projection_dim", 512);
        let pooled = (role == Role::Text2).then(width).transpose()?;
        Ok(Self { role, clip, penultimate, pooled })
    }
}

/// What belongs to training and to heads that Stable Diffusion does not use, and what the tokenizer says: published files
/// have wrong ids here.
const INERT: [&str; 9] = [
    "attention_dropout",
    "bos_token_id",
    "dropout",
    "eos_token_id",
    "initializer_factor",
    "initializer_range",
    "model_type",
    "pad_token_id",
    "projection_dim",
];

impl ClipTextConfig {
    /// Reads the configuration; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        // A whole CLIP, whose text transformer alone is wanted, has its fields within.
        let mut f = Fields::parse(file, text)?.within("text_config")?;
        f.inert(&INERT);
        f.inert(&super::pretrained::INERT);
        let config = Self {
            vocab_size: f.count("vocab_size", 49408)?,
            hidden_size: f.count("hidden_size", 512)?,
            intermediate_size: f.count("intermediate_size", 2048)?,
            num_hidden_layers: f.get("num_hidden_layers", 12)?,
            num_attention_heads: f.count("num_attention_heads", 8)?,
            max_position_embeddings: f.count("max_position_embeddings", 77)?,
            hidden_act: Activation::transformers(&mut f, "hidden_act", "quick_gelu")?,
            layer_norm_eps: f.epsilon("layer_norm_eps", 1e-5)?,
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
            (r#"{"model_type": "t5", "d_model": 512}"#, "unknown field d_model = 512"),
            (r#"{"rope_theta": 1}"#, "unknown field rope_theta = 1"),
            (r#"{"hidden_size": null}"#, "hidden_size = null"),
            (r#"{"layer_norm_eps": -1}"#, "layer_norm_eps = -1.0"),
            (r#"{"text_config": 3}"#, "text_config = 3"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("text_encoder/config.json: ") && error.contains(part), "{error}");
        }
        let whole = r#"{"model_type": "clip", "projection_dim": 8, "text_config": {"hidden_size": 16}, "vision_config": {}}"#;
        assert_eq!(parse(whole).unwrap().hidden_size, 16);
    }
}
