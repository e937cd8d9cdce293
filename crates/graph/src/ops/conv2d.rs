use super::{Activation, Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// Zeros around a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Above.
    pub top: usize,
    /// To the left.
    pub left: usize,
    /// Below.
    pub bottom: usize,
    /// To the right.
    pub right: usize,
}

impl Padding {
    /// The same on all sides.
    pub fn all(pixels: usize) -> Self {
        Self { top: pixels, left: pixels, bottom: pixels, right: pixels }
    }
}

/// `activation(conv(x) + bias + image_bias) + residual`, over NHWC.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// `[B, H, W, C]`.
    pub x: ValueId,
    /// `[KH · KW · C, O]`, a weight.
    pub weight: ValueId,
    /// `[O]`, a weight.
    pub bias: Option<ValueId>,
    /// `[B or 1, O]`: added to every pixel of an image; how a block learns the time.
    pub image_bias: Option<ValueId>,
    /// Applied before the residual is added.
    pub activation: Activation,
    /// `[B, OH, OW, O]`.
    pub residual: Option<ValueId>,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one output to the next.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// The input is read as if nearest-neighbour resampled to this height and width first.
    pub upsample: Option<[usize; 2]>,
}

impl Conv2d {
    /// Height and width of the input as the taps see it.
    pub fn virtual_size(&self, x: Shape) -> [usize; 2] {
        self.upsample.unwrap_or([x.dims()[1], x.dims()[2]])
    }
}

impl Operation for Conv2d {
    const NAME: &'static str = "conv2d";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.weight);
        self.bias.iter_mut().for_each(&mut *visit);
        self.image_bias.iter_mut().for_each(&mut *visit);
        self.residual.iter_mut().for_each(visit);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, w) = (shapes.shape(self.x), shapes.shape(self.weight));
        let &[batch, _, _, channels] = x.dims() else { return Err(format!("takes [B, H, W, C], not {x}")) };
        let [kh, kw] = self.kernel;
        let &[k, out] = w.dims() else { return Err(format!("takes a weight [KH·KW·C, O], not {w}")) };
        ensure(k == kh * kw * channels, || format!("{kh}x{kw} over {x} does not go with a weight {w}"))?;
        ensure(self.stride > 0, || "has a stride of zero".into())?;
        let [h, w] = self.virtual_size(x);
        let p = self.padding;
        let (padded_h, padded_w) = (h + p.top + p.bottom, w + p.left + p.right);
        ensure(padded_h >= kh && padded_w >= kw, || format!("{kh}x{kw} is larger than its input {x}"))?;
        let y =
            Shape::new(&[batch, (padded_h - kh) / self.stride + 1, (padded_w - kw) / self.stride + 1, out]);
        if let Some(bias) = self.bias {
            let bias = shapes.shape(bias);
            ensure(bias.dims() == [out], || format!("takes a bias [{out}], not {bias}"))?;
        }
        if let Some(bias) = self.image_bias {
            let bias = shapes.shape(bias);
            let fits = bias.channels() == out && (bias.rows() == batch || bias.rows() == 1);
            ensure(fits, || format!("cannot add a row of {bias} to each image of {y}"))?;
        }
        if let Some(residual) = self.residual {
            let residual = shapes.shape(residual);
            ensure(residual == y, || format!("cannot add a residual {residual} to {y}"))?;
        }
        Ok((y, Elem::Float))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let weight = shapes.shape(self.weight).numel() as u64;
        self.infer(shapes).map_or(0, |(y, _)| (y.rows() as u64).saturating_mul(weight).saturating_mul(2))
    }
}
