//! diffusers, from 0.16 on: the component, and the layer's path in it (`loaders/lora_pipeline.py`).

use super::{Ending, Prefix, TEXT, TEXT_2, UNET};
use crate::patches::kind::Piece::{Down, Up};

pub const NAME: &str = "diffusers";

pub const PREFIXES: &[Prefix] =
    &[("unet.", Some(UNET)), ("text_encoder.", Some(TEXT)), ("text_encoder_2.", Some(TEXT_2))];

pub const ENDINGS: &[Ending] = &[
    (".lora.down.weight", Down),
    (".lora.up.weight", Up),
    (".lora_linear_layer.down.weight", Down),
    (".lora_linear_layer.up.weight", Up),
    ("_lora.down.weight", Down),
    ("_lora.up.weight", Up),
];

/// A layer's path as it is today. diffusers up to 0.19 kept LoRAs in attention processors, whose last projection has no
/// index, and up to 0.17 named the text encoder's projections as it names the UNet's.
pub fn modern(component: &str, path: &str) -> String {
    let path = path.replace(".processor.", ".");
    let Some((head, last)) = path.rsplit_once('.') else { return path };
    let last = match (component == UNET, last) {
        (false, "to_q") => "q_proj",
        (false, "to_k") => "k_proj",
        (false, "to_v") => "v_proj",
        (false, "to_out") => "out_proj",
        (true, "to_out") => "to_out.0",
        _ => return path,
    };
    format!("{head}.{last}")
}
