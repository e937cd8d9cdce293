use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// `a + b`, where b has a's shape or holds one row of channels for each image (or one for all).
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    /// `[B, …, C]`.
    pub a: ValueId,
    /// `[B, …, C]`, or `[B or 1, C]`.
    pub b: ValueId,
}

impl Operation for Add {
    const NAME: &'static str = "add";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.a);
        visit(&mut self.b);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (a, b) = (shapes.shape(self.a), shapes.shape(self.b));
        let rows =
            b.rank() <= 2 && b.channels() == a.channels() && (b.rows() == 1 || b.rows() == a.dims()[0]);
        ensure(a == b || rows, || format!("cannot add {b} to {a}"))?;
        Ok((a, Elem::Float))
    }
}
