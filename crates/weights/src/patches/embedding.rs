//! LoRA of a table of embeddings.

use super::algebra::{Product, Weight};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit, same_rank};
use Piece::{EmbeddingDown, EmbeddingUp};

/// `W + m · alpha/rank · (B·A)ᵀ`: `A` `[rank, words]`, `B` `[width, rank]`, over a table `[words, width]` (PEFT's
/// `tuners/lora/layer.py`, `Embedding`).
pub(super) struct Embedding;

impl Kind for Embedding {
    fn name(&self) -> &'static str {
        "LoRA of an embedding"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[EmbeddingDown, EmbeddingUp]
    }

    fn rank(&self, shapes: &Shapes) -> Option<usize> {
        shapes.of(EmbeddingDown).first().copied()
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let rank = same_rank(shapes, (EmbeddingDown, 0), (EmbeddingUp, 1))?;
        let ([_, words], [width, ranks]) = (shapes.matrix(EmbeddingDown), shapes.matrix(EmbeddingUp));
        let fits = ranks == rank && [words, width] == weight;
        if fits { Ok(()) } else { Err(misfit(shapes, EmbeddingDown, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let [down, up] = [&values[&EmbeddingDown], &values[&EmbeddingUp]].map(|half| half.transposed());
        let product = Product::new(&down, &up);
        weight.add(strength * factor.unwrap_or(1.0), |at, _, sum| product.row(at, sum));
    }
}
