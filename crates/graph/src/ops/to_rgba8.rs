use super::{Operation, Shapes};
use crate::error::Error;
use crate::launch::{Context, Lower};
use crate::value::{Elem, ValueId};
use calotype_shaders::to_rgba8;
use calotype_tensor::Shape;

/// A decoded picture in [-1, 1] to opaque RGBA bytes, one u32 a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ToRgba8 {
    /// `[B, H, W, 4]`: red, green, blue and an unused channel.
    pub x: ValueId,
    /// Whether what is between two bytes becomes the lower; else the nearer, half-way the even one.
    pub truncate: bool,
}

impl Operation for ToRgba8 {
    const NAME: &'static str = "to_rgba8";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let x = shapes.shape(self.x);
        let &[batch, h, w, 4] = x.dims() else { return Err(format!("takes [B, H, W, 4], not {x}")) };
        Ok((Shape::new(&[batch, h, w]), Elem::U32))
    }
}

impl Lower for ToRgba8 {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let pixels = cx.shape(out).numel();
        let variant = cx.vectored("to_rgba8", 4)?;
        let band = cx.rows_that_fit(pixels, &[self.x, out]);
        for first in (0..pixels).step_by(band) {
            let count = band.min(pixels - first);
            let x = cx.window(self.x, first * 4..(first + count) * 4)?;
            let y = cx.window(out, first..first + count)?;
            let params = to_rgba8::Params {
                count: count as u32,
                x_base: (first as u32).wrapping_add(x.base(4)),
                y_base: (first as u32).wrapping_add(y.base(1)),
                truncate: self.truncate.into(),
            };
            let groups = cx.flat(count);
            cx.dispatch(variant, &[], params, vec![x.binding, y.binding], groups);
        }
        Ok(())
    }
}
