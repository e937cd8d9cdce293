use super::{Activation, Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::affine;
use calotype_tensor::Shape;

/// `x · scale + shift`, channel by channel, then an activation: a group norm whose statistics are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// `[B, …, C]`.
    pub x: ValueId,
    /// `[B, 2, C]`, f32: each image's scales, then its shifts.
    pub terms: ValueId,
    /// Applied last.
    pub activation: Activation,
}

impl Operation for Affine {
    const NAME: &'static str = "affine";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.terms);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, terms) = (shapes.shape(self.x), shapes.shape(self.terms));
        ensure(x.rank() >= 2, || format!("takes [B, …, C], not {x}"))?;
        let fits = terms.dims() == [x.dims()[0], 2, x.channels()];
        ensure(fits, || format!("takes a scale and a shift for each channel of {x}, not {terms}"))?;
        Ok((x, Elem::Float))
    }
}

impl Lower for Affine {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let x = cx.shape(self.x);
        let overrides = [("ACTIVATION", self.activation as u32 as f64)];
        let operands = [Part::Rows(self.x), Part::Whole(cx.bind(self.terms)?)];
        cx.pointwise("affine", &overrides, &operands, out, |band| affine::Params {
            count: band.count,
            first: band.first,
            width: band.width,
            image: (x.rows() / x.dims()[0]) as u32 * band.width,
            x_base: band.base(0),
            y_base: band.base(2),
        })
    }
}
