//! PEFT: what `PeftModel` puts before the names of the model in it, and the adapter's name between `lora_A` and `weight`
//! where the whole model was saved (`tuners/lora/layer.py`).

use super::{Ending, Prefix};
use crate::patches::kind::Piece::{self, Down, OutputMagnitudes, Up, UpBias};

pub const NAME: &str = "PEFT";

pub const PREFIXES: &[Prefix] = &[("base_model.model.", None)];

pub const ENDINGS: &[Ending] = &[
    (".lora_A.weight", Down),
    (".lora_B.weight", Up),
    (".lora_A", Down),
    (".lora_B", Up),
    (".lora_B.bias", UpBias),
    (".lora_magnitude_vector.weight", OutputMagnitudes),
    (".lora_magnitude_vector", OutputMagnitudes),
];

/// Between which and the last word an adapter's name may stand.
const MARKS: [(&str, &str, Piece); 4] = [
    (".lora_A", "weight", Down),
    (".lora_B", "weight", Up),
    (".lora_B", "bias", UpBias),
    (".lora_magnitude_vector", "weight", OutputMagnitudes),
];

/// A layer, which part of it the tensor is, and of which adapter: `….lora_A.default.weight`.
pub fn adapted(name: &str) -> Option<(&str, Piece, &str)> {
    let (head, last) = name.rsplit_once('.')?;
    let (head, adapter) = head.rsplit_once('.')?;
    let mut marks = MARKS.iter().filter(|(_, word, _)| *word == last);
    marks.find_map(|(mark, _, piece)| Some((head.strip_suffix(mark)?, *piece, adapter)))
}
