use super::{Activation, Op, Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// `activation(x · weight + bias) + residual`. Where it is gated, `values · activation(gates) + residual` of the columns
/// of `x · weight + bias` (Shazeer 2020, arXiv:2002.05202).
#[derive(Clone, Debug, PartialEq)]
pub struct Matmul {
    /// `[…, K]`, or the first of K channels.
    pub x: ValueId,
    /// The rest of the K channels: a skip connection is read where it lies.
    pub beside: Option<ValueId>,
    /// x is normalised first.
    pub norm: Option<RowNorm>,
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
    /// Whether it leaves its rows' moments behind the output, for a layer norm ([`RowNorm`]): a pair of f32, mean and
    /// sum of squared deviations, for every eight columns.
    pub moments: bool,
}

/// A layer norm (Ba et al. 2016, arXiv:1607.06450) of what a product reads, as it is read. The product that yields it
/// leaves the moments.
#[derive(Clone, Debug, PartialEq)]
pub struct RowNorm {
    /// `[K]`, a weight.
    pub gamma: ValueId,
    /// `[K]`, a weight.
    pub beta: ValueId,
    /// Added to the variance.
    pub eps: f32,
}

impl Operation for Matmul {
    const NAME: &'static str = "matmul";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        self.beside.iter_mut().for_each(&mut *visit);
        self.norm.iter_mut().for_each(|n| [&mut n.gamma, &mut n.beta].into_iter().for_each(&mut *visit));
        visit(&mut self.weight);
        self.bias.iter_mut().for_each(&mut *visit);
        self.residual.iter_mut().for_each(visit);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (x, w) = (shapes.shape(self.x), shapes.shape(self.weight));
        let &[k, n] = w.dims() else { return Err(format!("takes a weight [K, N], not {w}")) };
        let beside = self.beside.map(|b| shapes.shape(b));
        let both = x.channels() + beside.map_or(0, |b| b.channels());
        ensure(both == k && beside.is_none_or(|b| b.with_channels(x.channels()) == x), || {
            format!("cannot multiply {x} by {w}")
        })?;
        let whole = beside.is_none() || x.channels().is_multiple_of(4) && k.is_multiple_of(4);
        ensure(whole && (beside.is_none() || n.is_multiple_of(4)), || {
            format!("cannot read {x} and what lies beside it by fours")
        })?;
        let fits = self.norm.is_none() || beside.is_none() && k.is_multiple_of(16) && n.is_multiple_of(4);
        ensure(fits, || format!("cannot normalise {x} as it is read"))?;
        let fits = !self.moments
            || !self.gated && self.norm.is_none() && n.is_multiple_of(16) && k.is_multiple_of(4);
        ensure(fits, || format!("cannot leave moments of [{k}, {n}]"))?;
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
        let (rows, weight) = (shapes.shape(self.x).rows() as u64, shapes.shape(self.weight).numel() as u64);
        rows.saturating_mul(weight).saturating_mul(2)
    }
}

impl Matmul {
    /// A product with neither activation nor residual.
    pub fn new(x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Self {
        Self {
            x,
            beside: None,
            norm: None,
            weight,
            bias,
            activation: Activation::None,
            gated: false,
            residual: None,
            moments: false,
        }
    }

    /// As an [`Op`].
    pub fn op(self) -> Op {
        self.into()
    }
}
