use super::{Activation, Op, Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// `activation(x · weight + bias) + residual`. Where it is gated, `values · activation(gates) + residual` of the columns
/// of `x · weight + bias` (Shazeer 2020, arXiv:2002.05202).
#[derive(Clone, Debug, PartialEq)]
pub struct Matmul {
    /// `[…, K]`.
    pub x: ValueId,
    /// `[K, N]`, a weight; where gated, four columns of values and their four gates in turn.
    pub weight: ValueId,
    /// `[N]`, a weight.
    pub bias: Option<ValueId>,
    /// Applied before the residual is added.
    pub activation: Activation,
    /// Whether columns are values and gates ([`crate::Weight::gated`]): the output is half as wide.
    pub gated: bool,
    /// As the output.
    pub residual: Option<ValueId>,
}

impl Operation for Matmul {
    const NAME: &'static str = "matmul";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        visit(&mut self.weight);
        self.bias.iter_mut().for_each(&mut *visit);
        self.residual.iter_mut().for_each(visit);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, w) = (shapes.shape(self.x), shapes.shape(self.weight));
        let &[k, n] = w.dims() else { return Err(format!("takes a weight [K, N], not {w}")) };
        ensure(x.channels() == k, || format!("cannot multiply {x} by {w}"))?;
        let fits = !self.gated || k.is_multiple_of(4) && n.is_multiple_of(8);
        ensure(fits, || format!("cannot gate [{k}, {n}] by fours"))?;
        let out = x.with_channels(if self.gated { n / 2 } else { n });
        if let Some(bias) = self.bias {
            let bias = shapes.shape(bias);
            ensure(bias.dims() == [n], || format!("takes a bias [{n}], not {bias}"))?;
        }
        if let Some(residual) = self.residual {
            let residual = shapes.shape(residual);
            ensure(residual == out, || format!("cannot add a residual {residual} to {out}"))?;
        }
        Ok((out, Elem::Float))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * shapes.shape(self.x).rows() as u64 * shapes.shape(self.weight).numel() as u64
    }
}

impl Matmul {
    /// A product with neither activation nor residual.
    pub fn new(x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Self {
        Self { x, weight, bias, activation: Activation::None, gated: false, residual: None }
    }

    /// As an [`Op`].
    pub fn op(self) -> Op {
        self.into()
    }
}
