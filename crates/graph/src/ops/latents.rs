use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
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

/// A decoded picture in [-1, 1] to opaque RGBA bytes, one u32 a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ToRgba8 {
    /// `[B, H, W, 4]`: red, green, blue and an unused channel.
    pub x: ValueId,
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

/// Looks at a value for what would spoil a picture: counts elements that are not finite, and finds the least and
/// the greatest. The counts gather in a row of `found` until it is cleared.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// Any shape.
    pub x: ValueId,
    /// `[slots, 4]` u32, updated: not finite, least and greatest as [`Range::decode`] reads them, unused.
    pub found: ValueId,
    /// Which row is filled.
    pub slot: usize,
}

/// What a [`Range`] saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Elements that were NaN or infinite.
    pub not_finite: u32,
    /// The least finite element.
    pub least: f32,
    /// The greatest finite element.
    pub greatest: f32,
}

impl Range {
    /// A row of `found` before anything was seen.
    pub const CLEAR: [u32; 4] = [0, u32::MAX, 0, 0];

    /// Reads a row.
    pub fn decode(row: [u32; 4]) -> Found {
        let float = |u: u32| f32::from_bits(if u & 0x8000_0000 != 0 { u & 0x7fff_ffff } else { !u });
        Found { not_finite: row[0], least: float(row[1]), greatest: float(row[2]) }
    }

    /// A float's bits as an integer that orders as the floats do.
    pub fn ordered(value: f32) -> u32 {
        let bits = value.to_bits();
        if bits & 0x8000_0000 != 0 { !bits } else { bits | 0x8000_0000 }
    }
}

impl Operation for Range {
    const NAME: &'static str = "range";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.found);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let found = shapes.shape(self.found);
        let fits = found.rank() == 2 && found.channels() == 4 && self.slot < found.rows();
        ensure(fits, || format!("cannot fill row {} of {found}", self.slot))?;
        Ok((Shape::new(&[0]), Elem::U32))
    }

    fn updates(&self) -> Vec<ValueId> {
        vec![self.found]
    }
}
