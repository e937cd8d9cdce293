use super::fields::Fields;
use crate::Result;
use serde_json::Value;

/// A function between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x·σ(x), also called swish.
    Silu,
    /// x·Φ(x), exact: with the error function.
    Gelu,
    /// GELU through tanh: ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    GeluTanh,
    /// x·σ(1.702x), which the original CLIP uses.
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x·tanh(ln(1 + eˣ)).
    Mish,
}

/// The names in diffusers' `models/activations.py`.
const DIFFUSERS: [(&str, Activation); 5] = [
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("mish", Activation::Mish),
    ("gelu", Activation::Gelu),
    ("relu", Activation::Relu),
];

/// The names in transformers' `activations.py`; those that are one function in exact arithmetic share an entry here.
const TRANSFORMERS: [(&str, Activation); 12] = [
    ("quick_gelu", Activation::QuickGelu),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("relu", Activation::Relu),
    ("mish", Activation::Mish),
];

impl From<Activation> for calotype_graph::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Silu => Self::Silu,
            Activation::Gelu => Self::Gelu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::QuickGelu => Self::QuickGelu,
            Activation::Relu => Self::Relu,
            Activation::Mish => Self::Mish,
        }
    }
}

impl Activation {
    /// A field of a diffusers configuration, which takes large letters for small ones.
    pub(super) fn diffusers(fields: &mut Fields, field: &str, default: &str) -> Result<Self> {
        let mut word: Value = fields.get(field, default.into())?;
        if let Some(text) = word.as_str() {
            word = text.to_lowercase().into();
        }
        fields.look_up(field, &word, &DIFFUSERS)
    }

    /// A field of a transformers configuration.
    pub(super) fn transformers(fields: &mut Fields, field: &str, default: &str) -> Result<Self> {
        fields.word(field, default, &TRANSFORMERS)
    }
}
