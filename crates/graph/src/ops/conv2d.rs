use super::{Activation, Operation, Shapes, ensure};
use crate::cuts::product::{Product, SLICE};
use crate::error::Error;
use crate::launch::{Context, Half, Lower, Stored, flag, launch, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::{conv2d, conv2d_naive};
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
    /// A convolution by a `kernel` of these rows and columns: every pixel, nothing around the picture, nothing added.
    pub fn new(x: ValueId, weight: ValueId, kernel: [usize; 2]) -> Self {
        Self {
            x,
            weight,
            bias: None,
            image_bias: None,
            activation: Activation::None,
            residual: None,
            kernel,
            stride: 1,
            padding: Padding::default(),
            upsample: None,
        }
    }

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

impl Lower for Conv2d {
    fn product(&self, stored: &Stored<'_>, out: ValueId) -> Option<Product> {
        let [k, columns]: [usize; 2] = stored.shape(self.weight).dims().try_into().ok()?;
        let storage = [stored.a(), stored.w(self.weight)];
        let rows = stored.shape(out).rows();
        let (along, role) = (stored.shape(self.x).channels(), None);
        (vector(&[along, columns]) == 4).then_some(Product {
            stem: "conv2d",
            storage,
            role,
            rows,
            columns,
            k,
            whole: along.is_multiple_of(SLICE),
        })
    }

    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (x, y, k) = (cx.shape(self.x), cx.shape(out), cx.shape(self.weight).dims()[0]);
        let [images, height, width, channels]: [usize; 4] = x.dims().try_into().expect("checked when added");
        let [_, out_height, out_width, n]: [usize; 4] = y.dims().try_into().expect("checked when added");
        let [virtual_height, virtual_width] = self.virtual_size(x);
        let vector = vector(&[channels, n]);
        let (a, w) = (cx.a(), cx.w(self.weight));
        let product = cx.product();
        let operand_overrides = vec![("UPSAMPLE", flag(self.upsample.is_some()))];
        let result_overrides = vec![
            ("ACTIVATION", self.activation as u32 as f64),
            ("BIAS", flag(self.bias.is_some())),
            ("RESIDUAL", flag(self.residual.is_some())),
            ("IMAGE_BIAS", flag(self.image_bias.is_some())),
        ];
        let weight = cx.bind(self.weight)?;
        let bias = cx.bind_or(self.bias, &weight)?;
        let (image_bias, image_bias_stride, image_bias_base) = match self.image_bias {
            Some(b) => {
                let (binding, stride, from) = cx.columns(b)?;
                (binding, if cx.shape(b).rows() > 1 { stride / vector } else { 0 }, from / vector)
            }
            None => (weight.clone(), 0, 0),
        };
        // All rows of all images at once where a binding holds them, else bands of an image's rows.
        let mut values = vec![self.x, out];
        values.extend(self.residual);
        let all = images * out_height;
        let fit = cx.rows_that_fit(all, &values);
        let bands: Vec<(usize, usize)> = if fit >= all {
            vec![(0, all)]
        } else {
            // A band reads some rows more than it writes.
            let fit = fit.saturating_sub(self.kernel[0]).max(1);
            (0..images)
                .flat_map(|i| {
                    (0..out_height).step_by(fit).map(move |r| (i * out_height + r, fit.min(out_height - r)))
                })
                .collect()
        };
        for (first, rows) in bands {
            let m = rows * out_width;
            let m_base = first * out_width;
            let (from, to) = if rows == all {
                (0, images * height)
            } else {
                let image = first / out_height;
                let row = first % out_height;
                let source = |r: usize| if self.upsample.is_some() { r * height / virtual_height } else { r };
                let top =
                    source((row * self.stride).saturating_sub(self.padding.top).min(virtual_height - 1));
                let end = (row + rows - 1) * self.stride + self.kernel[0];
                let bottom = source(end.saturating_sub(self.padding.top + 1).min(virtual_height - 1)) + 1;
                (image * height + top, image * height + bottom)
            };
            let x = cx.window(self.x, from * width * channels..to * width * channels)?;
            let y = cx.window(out, m_base * n..(m_base + m) * n)?;
            let residual = self.residual.map(|r| cx.window(r, m_base * n..(m_base + m) * n)).transpose()?;
            let params = conv2d::Params {
                m: m as u32,
                n: n as u32,
                k: k as u32,
                k_slice: product.map_or(k, |(_, cut)| cut.slice(k)) as u32,
                m_base: m_base as u32,
                x_base: x.base(vector),
                residual_base: residual.as_ref().map_or(0, |r| r.base(vector)),
                y_base: y.base(vector),
                channels: channels as u32,
                height: height as u32,
                width: width as u32,
                virtual_height: virtual_height as u32,
                virtual_width: virtual_width as u32,
                out_height: out_height as u32,
                out_width: out_width as u32,
                kernel_width: self.kernel[1] as u32,
                stride: self.stride as u32,
                pad_top: self.padding.top as u32,
                pad_left: self.padding.left as u32,
                image_bias_stride: image_bias_stride as u32,
                image_bias_base: image_bias_base as u32,
            };
            let residual = residual.map_or_else(|| weight.clone(), |r| r.binding);
            let operands = vec![x.binding, weight.clone()];
            let results = vec![bias.clone(), image_bias.clone(), residual, y.binding];
            if let Some((product, cut)) = &product {
                let halves = [
                    Half { bindings: operands, overrides: operand_overrides.clone() },
                    Half { bindings: results, overrides: result_overrides.clone() },
                ];
                launch(cx, (product, cut), m, params, halves)?;
            } else {
                let variant = cx.variant("conv2d_naive", &[a, w, "VEC1"])?;
                let params: conv2d_naive::Params = bytemuck::cast(params);
                let groups = cx.flat(m * n);
                let overrides = [&operand_overrides[..], &result_overrides].concat();
                cx.dispatch(variant, &overrides, params, [operands, results].concat(), groups);
            }
        }
        Ok(())
    }
}
