//! kohya-ss/sd-scripts (`networks/lora.py`, `networks/oft.py`), OneTrainer, and LyCORIS' wrapper, by which SimpleTuner saves:
//! a layer's path with underscores for dots, in diffusers' or in the original layout.

use super::{Ending, Prefix, TEXT, TEXT_2, UNET};
use crate::patches::kind::Piece::{Down, Mid, Up};

pub const NAME: &str = "kohya";

pub const PREFIXES: &[Prefix] = &[
    ("lora_unet_", Some(UNET)),
    // A save from within A1111, whose text encoder is wrapped in its own.
    ("lora_te_wrapped_transformer_", Some(TEXT)),
    ("lora_te_", Some(TEXT)),
    ("lora_te1_", Some(TEXT)),
    ("lora_te2_", Some(TEXT_2)),
    ("oft_unet_", Some(UNET)),
    ("lycoris_", None),
];

pub const ENDINGS: &[Ending] =
    &[(".lora_down.weight", Down), (".lora_up.weight", Up), (".lora_mid.weight", Mid)];
