//! The original (ldm) layout of UNets, which kohya's files for SDXL and ComfyUI's of any kind have
//! ([`crate::schemes::unet`]).

use super::{Prefix, TEXT, TEXT_2, UNET};

pub const NAME: &str = "ComfyUI";

pub const PREFIXES: &[Prefix] = &[
    ("diffusion_model.", Some(UNET)),
    ("model.diffusion_model.", Some(UNET)),
    ("text_encoders.clip_l.transformer.", Some(TEXT)),
    ("text_encoders.clip_h.transformer.", Some(TEXT)),
    ("text_encoders.clip_g.transformer.", Some(TEXT_2)),
];
