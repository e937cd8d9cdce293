use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::concat;
use calotype_tensor::Shape;

/// a's channels followed by b's: how a UNet takes up its skip connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// `[…, C]`.
    pub a: ValueId,
    /// `[…, D]`.
    pub b: ValueId,
}

impl Operation for Concat {
    const NAME: &'static str = "concat";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.a);
        visit(&mut self.b);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (a, b) = (shapes.shape(self.a), shapes.shape(self.b));
        let out = a.with_channels(a.channels().saturating_add(b.channels()));
        ensure(b.with_channels(out.channels()) == out, || format!("cannot put {a} and {b} side by side"))?;
        Ok((out, Elem::Float))
    }
}

impl Lower for Concat {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let [a, b] = [self.a, self.b].map(|v| cx.shape(v).channels());
        cx.pointwise("concat", &[], &[self.a, self.b].map(Part::Rows), out, |band| concat::Params {
            count: band.count,
            first: band.first,
            a_width: (a / band.vector) as u32,
            b_width: (b / band.vector) as u32,
            a_base: band.base(0),
            b_base: band.base(1),
            y_base: band.base(2),
        })
    }
}
