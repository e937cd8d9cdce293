use super::{Activation, Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::geglu;
use calotype_tensor::Shape;

/// The first half of the channels times the activation of the second (Shazeer 2020, arXiv:2002.05202).
#[derive(Clone, Debug, PartialEq)]
pub struct Geglu {
    /// `[…, 2 N]`.
    pub x: ValueId,
    /// The gate's function; exact GELU in diffusers.
    pub activation: Activation,
}

impl Operation for Geglu {
    const NAME: &'static str = "geglu";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let x = shapes.shape(self.x);
        ensure(x.channels().is_multiple_of(2), || format!("cannot halve the channels of {x}"))?;
        Ok((x.with_channels(x.channels() / 2), Elem::Float))
    }
}

impl Lower for Geglu {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let overrides = [("ACTIVATION", self.activation as u32 as f64)];
        cx.pointwise("geglu", &overrides, &[Part::Rows(self.x)], out, |band| geglu::Params {
            count: band.count,
            width: band.width,
            x_base: band.begin(0),
            y_base: band.begin(1),
        })
    }
}
