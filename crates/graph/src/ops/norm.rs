use super::{Activation, Operation, Shapes, ensure};
use crate::lower::Caps;
use crate::{Elem, ValueId};
use calotype_tensor::{DType, Shape};

/// Group normalisation (Wu and He 2018, arXiv:1803.08494) over `[B, …, C]`, then an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// `[B, …, C]`, or the first of the C channels.
    pub x: ValueId,
    /// The rest of the C channels: a skip connection is read where it lies.
    pub beside: Option<ValueId>,
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
        self.beside.iter_mut().for_each(&mut *visit);
        visit(&mut self.gamma);
        visit(&mut self.beta);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let mut x = shapes.shape(self.x);
        if let Some(beside) = self.beside.map(|b| shapes.shape(b)) {
            let fours = x.channels().is_multiple_of(4) && beside.channels().is_multiple_of(4);
            let fits = beside.with_channels(x.channels()) == x && fours;
            ensure(fits, || format!("cannot read {x} and {beside} side by side"))?;
            x = x.with_channels(x.channels() + beside.channels());
            ensure(Self::is_small(x, self.groups), || format!("has groups too large to read {x} by parts"))?;
        }
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

impl GroupNorm {
    /// The most elements of a group that one workgroup takes by itself: 256 KiB of halves, read twice, is some ten
    /// microseconds of one processor's share of a GPU's bandwidth, about what two more launches cost.
    const SMALL: usize = 1 << 17;

    /// Whether each group of an image of x is so small that one workgroup does everything. Pairs of channels stay
    /// together, and rows of a group fit a workgroup's threads.
    pub fn is_small(x: Shape, groups: usize) -> bool {
        let (images, size) = (x.dims()[0].max(1), x.channels() / groups.max(1));
        let fits = (1..=240).contains(&size) && size.is_multiple_of(2);
        fits && x.rows() / images * size <= Self::SMALL && x.bytes(DType::F32) <= Caps::default().max_binding
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
