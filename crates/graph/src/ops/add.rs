use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part, flag};
use crate::value::{Elem, ValueId};
use calotype_shaders::add;
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

impl Lower for Add {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (a, b) = (cx.shape(self.a), cx.shape(self.b));
        let rowwise = a != b;
        let b_part = if rowwise { Part::Whole(cx.bind(self.b)?) } else { Part::Rows(self.b) };
        let operands = [Part::Rows(self.a), b_part];
        cx.pointwise("add", &[("ROWS", flag(rowwise))], &operands, out, |band| add::Params {
            count: band.count,
            first: band.first,
            width: band.width,
            image: (a.rows() / a.dims()[0]) as u32 * band.width,
            row_stride: if rowwise && b.rows() > 1 { band.width } else { 0 },
            a_base: band.base(0),
            b_base: band.base(1),
            y_base: band.base(2),
        })
    }
}
