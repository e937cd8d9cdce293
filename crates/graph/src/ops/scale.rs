use super::{Operation, Shapes};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::scale;
use calotype_tensor::Shape;

/// `x · scale + shift`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Any shape.
    pub x: ValueId,
    /// The factor.
    pub scale: f32,
    /// Added after.
    pub shift: f32,
}

impl Operation for Scale {
    const NAME: &'static str = "scale";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        Ok((shapes.shape(self.x), Elem::Float))
    }
}

impl Lower for Scale {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        cx.pointwise("scale", &[], &[Part::Rows(self.x)], out, |band| scale::Params {
            count: band.count,
            x_base: band.begin(0),
            y_base: band.begin(1),
            scale: self.scale,
            shift: self.shift,
        })
    }
}
