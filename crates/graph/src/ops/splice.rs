use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::splice;
use calotype_tensor::Shape;

/// x with some images of another value in the place of its own: what some images of a batch alone do otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Splice {
    /// `[B, …, C]`.
    pub x: ValueId,
    /// `[B, …, C]`.
    pub other: ValueId,
    /// The first of the images that are the other's.
    pub first: usize,
    /// How many are.
    pub images: usize,
}

impl Operation for Splice {
    const NAME: &'static str = "splice";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.other);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, other) = (shapes.shape(self.x), shapes.shape(self.other));
        ensure(x == other, || format!("cannot take images of {other} for those of {x}"))?;
        let fits = x.rank() > 1 && self.first.saturating_add(self.images) <= x.dims()[0];
        ensure(fits, || format!("{x} has no {} images from {} on", self.images, self.first))?;
        Ok((x, Elem::Float))
    }
}

impl Lower for Splice {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let shape = cx.shape(out);
        let image = shape.numel() / shape.dims()[0].max(1);
        cx.pointwise("splice", &[], &[self.x, self.other].map(Part::Rows), out, |band| splice::Params {
            count: band.count,
            first: band.first,
            begin: (self.first * image / band.vector) as u32,
            images: (self.images * image / band.vector) as u32,
            x_base: band.base(0),
            other_base: band.base(1),
            y_base: band.base(2),
        })
    }
}
