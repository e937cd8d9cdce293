use super::{Operation, Shapes, StepRow, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower};
use crate::value::{Elem, ValueId};
use calotype_shaders::timestep_embedding;
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
        ensure(table.channels() == StepRow::WORDS, || format!("takes a step table, not {table}"))?;
        Ok((Shape::new(&[table.rows(), 2 * shapes.shape(self.frequencies).numel()]), Elem::Float))
    }
}

impl Lower for TimestepEmbedding {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let half = cx.shape(self.frequencies).numel();
        let a = cx.a();
        let vector = if a == "A_H16" { 4 } else { 1 };
        let variant = cx.vectored("timestep_embedding", vector)?;
        let count = cx.shape(out).numel().div_ceil(vector);
        let params = timestep_embedding::Params {
            count: count as u32,
            half: half as u32,
            cosine_first: self.cosine_first.into(),
            words: StepRow::WORDS as u32,
            timestep: StepRow::TIMESTEP as u32,
        };
        let bindings = vec![cx.bind(self.table)?, cx.bind(self.frequencies)?, cx.bind(out)?];
        let groups = cx.flat(count);
        cx.dispatch(variant, &[], params, bindings, groups);
        Ok(())
    }
}
