use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
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

/// Nearest-neighbour resampling to a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample {
    /// `[B, H, W, C]`.
    pub x: ValueId,
    /// Height and width of the output.
    pub size: [usize; 2],
}

impl Operation for Upsample {
    const NAME: &'static str = "upsample";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let x = shapes.shape(self.x);
        let &[batch, h, w, c] = x.dims() else { return Err(format!("takes [B, H, W, C], not {x}")) };
        let [out_h, out_w] = self.size;
        ensure(![h, w, out_h, out_w].contains(&0), || format!("cannot resample {x} to {out_h}x{out_w}"))?;
        Ok((Shape::new(&[batch, out_h, out_w, c]), Elem::Float))
    }
}
