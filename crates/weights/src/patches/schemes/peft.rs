//! PEFT: what `PeftModel` puts before the names of the model in it, what its tuners call their tensors (`tuners/*/layer.py`),
//! and the adapter's name behind that where the whole model was saved.

use super::{Ending, Prefix, lycoris};
use crate::patches::kind::Piece::{self, *};

pub const NAME: &str = "PEFT";

pub const PREFIXES: &[Prefix] = &[("base_model.model.", None)];

/// LoHa's and LoKr's are LyCORIS'.
pub const ENDINGS: &[Ending] = &[
    (".lora_A.weight", Down),
    (".lora_B.weight", Up),
    (".lora_A", Down),
    (".lora_B", Up),
    (".lora_B.bias", UpBias),
    (".lora_embedding_A", EmbeddingDown),
    (".lora_embedding_B", EmbeddingUp),
    (".lora_magnitude_vector.weight", OutputMagnitudes),
    (".lora_magnitude_vector", OutputMagnitudes),
    (".ia3_l", Factors),
    (".oft_R.weight", Triangles),
    (".boft_R", Stages),
    (".boft_s", Lengths),
];

/// Between which and what stands last an adapter's name may stand.
const MARKS: [(&str, &str, Piece); 10] = [
    (".lora_A.", ".weight", Down),
    (".lora_B.", ".weight", Up),
    (".lora_B.", ".bias", UpBias),
    (".lora_magnitude_vector.", ".weight", OutputMagnitudes),
    (".lora_embedding_A.", "", EmbeddingDown),
    (".lora_embedding_B.", "", EmbeddingUp),
    (".ia3_l.", "", Factors),
    (".oft_R.", ".weight", Triangles),
    (".boft_R.", "", Stages),
    (".boft_s.", "", Lengths),
];

/// A layer, which part of it the tensor is, and of which adapter: `….lora_A.default.weight`.
pub fn adapted(name: &str) -> Option<(&str, Piece, &str)> {
    let own = MARKS.iter().find_map(|(mark, last, piece)| {
        let (stem, adapter) = name.strip_suffix(last)?.rsplit_once(mark)?;
        Some((stem, *piece, adapter))
    });
    // LoHa's and LoKr's tensors, behind which the name stands last.
    let shared = || {
        let (head, adapter) = name.rsplit_once('.')?;
        let mut ends =
            lycoris::ENDINGS.iter().filter(|(end, _)| end.starts_with(".hada_") || end.starts_with(".lokr_"));
        ends.find_map(|(end, piece)| Some((head.strip_suffix(end)?, *piece, adapter)))
    };
    own.or_else(shared).filter(|(.., adapter)| !adapter.is_empty() && !adapter.contains('.'))
}
