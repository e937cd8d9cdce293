use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::layer_norm;
use calotype_tensor::Shape;

/// Layer normalisation over the channels.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// `[…, C]`.
    pub x: ValueId,
    /// `[C]`, a weight.
    pub gamma: ValueId,
    /// `[C]`, a weight.
    pub beta: ValueId,
    /// Added to the variance.
    pub eps: f32,
}

impl Operation for LayerNorm {
    const NAME: &'static str = "layer_norm";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.gamma);
        visit(&mut self.beta);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let x = shapes.shape(self.x);
        for v in [self.gamma, self.beta] {
            let v = shapes.shape(v);
            ensure(v.dims() == [x.channels()], || format!("takes weights [{}], not {v}", x.channels()))?;
        }
        Ok((x, Elem::Float))
    }
}

impl Lower for LayerNorm {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let x = cx.shape(self.x);
        let vector = vector(&[x.channels()]);
        let params = layer_norm::Params {
            rows: x.rows() as u32,
            width: (x.channels() / vector) as u32,
            eps: self.eps,
            inverse: 1.0 / x.channels() as f32,
        };
        let storage = [cx.a(), if vector == 4 { "VEC4" } else { "VEC1" }];
        let variant = cx.variant("layer_norm", &[&storage, cx.caps.sums()].concat())?;
        let bindings = vec![cx.bind(self.x)?, cx.bind(self.gamma)?, cx.bind(self.beta)?, cx.bind(out)?];
        let groups = cx.flat(x.rows() * 64);
        cx.dispatch(variant, &[], params, bindings, groups);
        Ok(())
    }
}
