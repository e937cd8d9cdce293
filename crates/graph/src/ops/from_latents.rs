use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::from_latents;
use calotype_tensor::Shape;

/// Latents in f32 to a model's input: scaled, shifted, converted, once for each guidance half.
#[derive(Clone, Debug, PartialEq)]
pub struct FromLatents {
    /// f32 of any shape whose elements begin with those that are read: the registers, or latents.
    pub latents: ValueId,
    /// The shape of one copy, `[B, H, W, C]`.
    pub shape: Shape,
    /// The first element that is read.
    pub from: usize,
    /// How many times it is written along the batch axis.
    pub copies: usize,
    /// The factor.
    pub scale: f32,
    /// Added after.
    pub shift: f32,
}

impl Operation for FromLatents {
    const NAME: &'static str = "from_latents";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.latents);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let latents = shapes.shape(self.latents);
        let &[batch, h, w, c] = self.shape.dims() else {
            return Err(format!("makes [B, H, W, C], not {}", self.shape));
        };
        let fits = self.from.saturating_add(self.shape.numel()) <= latents.numel();
        ensure(fits, || format!("cannot take {} from {latents} at {}", self.shape, self.from))?;
        Ok((Shape::new(&[self.copies.saturating_mul(batch), h, w, c]), Elem::Float))
    }
}

impl Lower for FromLatents {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let c = self.shape.channels();
        let vector = vector(&[c, self.from]);
        let count = self.shape.numel() / vector;
        let variant = cx.vectored("from_latents", vector)?;
        let params = from_latents::Params {
            count: count as u32,
            begin: (self.from / vector) as u32,
            copies: self.copies as u32,
            scale: self.scale,
            shift: self.shift,
        };
        let bindings = vec![cx.bind(self.latents)?, cx.bind(out)?];
        let groups = cx.flat(count);
        cx.dispatch(variant, &[], params, bindings, groups);
        Ok(())
    }
}
