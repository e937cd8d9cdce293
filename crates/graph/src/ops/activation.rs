use super::{Operation, Shapes};
use crate::error::Error;
use crate::launch::{Context, Lower, Part};
use crate::value::{Elem, ValueId};
use calotype_shaders::activation;
use calotype_tensor::Shape;

/// An activation function. The numbers are the shaders' (`shaders/shared/activations.wgsl`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The identity.
    #[default]
    None = 0,
    /// `x · sigmoid(x)`, also called swish (Elfwing et al. 2017, arXiv:1702.03118).
    Silu = 1,
    /// `x · Φ(x)` exactly, by erf (Hendrycks and Gimpel 2016, arXiv:1606.08415).
    Gelu = 2,
    /// The tanh approximation of the same paper.
    GeluTanh = 3,
    /// `x · sigmoid(1.702 x)`, as OpenAI's CLIP has it.
    QuickGelu = 4,
    /// `max(x, 0)`.
    Relu = 5,
    /// `x · tanh(ln(1 + eˣ))` (Misra 2019, arXiv:1908.08681).
    Mish = 6,
}

/// `activation(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activate {
    /// Any shape.
    pub x: ValueId,
    /// Which function.
    pub activation: Activation,
}

impl Operation for Activate {
    const NAME: &'static str = "activation";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        Ok((shapes.shape(self.x), Elem::Float))
    }
}

impl Lower for Activate {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let overrides = [("ACTIVATION", self.activation as u32 as f64)];
        cx.pointwise("activation", &overrides, &[Part::Rows(self.x)], out, |band| activation::Params {
            count: band.count,
            x_base: band.begin(0),
            y_base: band.begin(1),
        })
    }
}
