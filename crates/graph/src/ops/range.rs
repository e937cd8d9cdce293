use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::range;
use calotype_tensor::Shape;

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
pub struct RangeFound {
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
    pub fn decode(row: [u32; 4]) -> RangeFound {
        let float = |u: u32| f32::from_bits(if u & 0x8000_0000 != 0 { u & 0x7fff_ffff } else { !u });
        RangeFound { not_finite: row[0], least: float(row[1]), greatest: float(row[2]) }
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

impl Lower for Range {
    fn lower(&self, cx: &mut Context<'_>, _out: ValueId) -> Result<(), Error> {
        let x = cx.shape(self.x);
        let c = x.channels();
        let vector = vector(&[c]);
        let variant = cx.vectored("range", vector)?;
        let found = cx.bind(self.found)?;
        let band = cx.rows_that_fit(x.rows(), &[self.x]);
        for first in (0..x.rows()).step_by(band) {
            let rows = band.min(x.rows() - first);
            let window = cx.window(self.x, first * c..(first + rows) * c)?;
            let count = rows * c / vector;
            let params = range::Params {
                count: count as u32,
                x_base: ((first * c / vector) as u32).wrapping_add(window.base(vector)),
                slot: self.slot as u32,
            };
            // Each thread looks at many elements, so that few workgroups meet at the counters.
            let groups = [count.div_ceil(64).clamp(1, 256) as u32, 1, 1];
            cx.dispatch(variant, &[], params, vec![window.binding, found.clone()], groups);
        }
        Ok(())
    }
}
