use super::{Operation, Shapes, StepRow, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::row;
use calotype_tensor::Shape;

/// The current step's row of what was computed for all steps at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `[steps, C]`.
    pub x: ValueId,
    /// The step table, `[steps, 128]`.
    pub table: ValueId,
}

impl Operation for Row {
    const NAME: &'static str = "row";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.table);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, table) = (shapes.shape(self.x), shapes.shape(self.table));
        ensure(table.channels() == StepRow::WORDS, || format!("takes a step table, not {table}"))?;
        ensure(x.rows() == table.rows(), || format!("{x} has no row for each step of {table}"))?;
        Ok((Shape::new(&[1, x.channels()]), Elem::Float))
    }

    fn steps(&self) -> bool {
        true
    }
}

impl Lower for Row {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let c = cx.shape(out).channels();
        let vector = vector(&[c]);
        let variant = cx.vectored("row", vector)?;
        let params = row::Params { count: (c / vector) as u32 };
        let bindings = vec![cx.table(self.table), cx.bind(self.x)?, cx.bind(out)?];
        let groups = cx.flat(c / vector);
        cx.dispatch(variant, &[], params, bindings, groups);
        Ok(())
    }
}
