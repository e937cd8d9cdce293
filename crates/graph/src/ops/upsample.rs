use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::upsample;
use calotype_tensor::Shape;

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

impl Lower for Upsample {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (x, y) = (cx.shape(self.x), cx.shape(out));
        let [images, height, width, c]: [usize; 4] = x.dims().try_into().expect("checked when added");
        let [out_height, out_width] = self.size;
        let vector = vector(&[c]);
        let variant = cx.vectored("upsample", vector)?;
        let all = images * out_height;
        let fit = cx.rows_that_fit(all, &[out]);
        for image in 0..images {
            let step = if fit >= all { out_height } else { fit };
            for row in (0..out_height).step_by(step) {
                let rows = step.min(out_height - row);
                let source = |r: usize| image * height + r * height / out_height;
                let from = source(row) * width * c;
                let to = (source(row + rows - 1) + 1) * width * c;
                let first = (image * out_height + row) * out_width * c;
                let count = rows * out_width * c;
                let xw = cx.window(self.x, from..to)?;
                let yw = cx.window(out, first..first + count)?;
                let params = upsample::Params {
                    count: (count / vector) as u32,
                    first: (first / vector) as u32,
                    width4: (c / vector) as u32,
                    height: height as u32,
                    width: width as u32,
                    out_height: out_height as u32,
                    out_width: out_width as u32,
                    x_base: xw.base(vector),
                    y_base: yw.base(vector),
                };
                let groups = cx.flat(count / vector);
                cx.dispatch(variant, &[], params, vec![xw.binding, yw.binding], groups);
            }
        }
        debug_assert_eq!(y.rows(), all * out_width);
        Ok(())
    }
}
