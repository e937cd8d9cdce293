use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// The sinusoidal embeddings of all steps' times, which the step table gives (see [`super::StepRow`]).
#[derive(Clone, Debug, PartialEq)]
pub struct TimestepEmbedding {
    /// The step table, `[steps, 128]`.
    pub table: ValueId,
    /// `[half]`, a constant: radians a unit of time.
    pub frequencies: ValueId,
    /// Whether cosines come before sines (`flip_sin_to_cos`).
    pub cosine_first: bool,
}

impl Operation for TimestepEmbedding {
    const NAME: &'static str = "timestep_embedding";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.table);
        visit(&mut self.frequencies);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let table = shapes.shape(self.table);
        ensure(table.channels() == super::StepRow::WORDS, || format!("takes a step table, not {table}"))?;
        Ok((Shape::new(&[table.rows(), 2 * shapes.shape(self.frequencies).numel()]), Elem::Float))
    }
}
