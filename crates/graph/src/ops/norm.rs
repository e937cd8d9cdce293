use super::{Activation, Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// Group normalisation (Wu and He 2018, arXiv:1803.08494) over `[B, …, C]`, then an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// `[B, …, C]`.
    pub x: ValueId,
    /// `[C]`, a weight.
    pub gamma: ValueId,
    /// `[C]`, a weight.
    pub beta: ValueId,
    /// How many groups the channels fall into.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

impl Operation for GroupNorm {
    const NAME: &'static str = "group_norm";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.gamma);
        visit(&mut self.beta);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let x = shapes.shape(self.x);
        let c = x.channels();
        ensure(x.rank() >= 2, || format!("takes [B, …, C], not {x}"))?;
        let divides = self.groups > 0 && c.is_multiple_of(self.groups);
        ensure(divides, || format!("cannot part {c} channels into {} groups", self.groups))?;
        for v in [self.gamma, self.beta] {
            let v = shapes.shape(v);
            ensure(v.dims() == [c], || format!("takes weights [{c}], not {v}"))?;
        }
        Ok((x, Elem::Float))
    }
}

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
