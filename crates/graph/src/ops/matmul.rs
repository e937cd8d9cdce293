use super::{Activation, Op, Operation, Shapes, ensure};
use crate::cuts::product::{Product, SLICE};
use crate::error::Error;
use crate::launch::{Context, Half, Lower, Stored, flag, launch, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::{matmul, matmul_naive};
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

impl Lower for Matmul {
    fn product(&self, stored: &Stored<'_>, out: ValueId) -> Option<Product> {
        let [k, columns]: [usize; 2] = stored.shape(self.weight).dims().try_into().ok()?;
        let storage = [stored.a(), stored.w(self.weight)];
        let rows = stored.shape(out).rows();
        let role = if self.norm.is_some() { Some("NORM") } else { self.moments.then_some("MOMENTS") };
        let whole = k.is_multiple_of(SLICE) && stored.shape(self.x).channels().is_multiple_of(SLICE);
        let product = Product { stem: "matmul", storage, role, rows, columns, k, whole };
        (vector(&[k, columns]) == 4).then_some(product)
    }

    fn moments(&self, out: Shape) -> u64 {
        if self.moments { out.numel() as u64 } else { 0 }
    }

    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let x = cx.shape(self.x);
        let (k, n) = (cx.shape(self.weight).dims()[0], cx.shape(self.weight).channels());
        let (rows, x_width) = (x.rows(), x.channels());
        let width = cx.shape(out).channels(); // n, or half of it where gated
        let vector = vector(&[k, n]);
        let (a, w) = (cx.a(), cx.w(self.weight));
        let product = cx.product();
        let operand_overrides = vec![("BESIDE", flag(self.beside.is_some()))];
        let result_overrides = vec![
            ("ACTIVATION", self.activation as u32 as f64),
            ("BIAS", flag(self.bias.is_some())),
            ("RESIDUAL", flag(self.residual.is_some())),
            ("GATED", flag(self.gated)),
        ];
        let weight = cx.bind(self.weight)?;
        let bias = cx.bind_or(self.bias, &weight)?;
        let mut values = vec![self.x, out];
        values.extend(self.residual);
        values.extend(self.beside);
        let band = cx.rows_that_fit(rows, &values);
        for first in (0..rows).step_by(band.max(1)) {
            let m = band.min(rows - first);
            let x = cx.window(self.x, first * x_width..(first + m) * x_width)?;
            let beside_width = k - x_width;
            let rest = first * beside_width..(first + m) * beside_width;
            let beside = self.beside.map(|b| cx.window(b, rest)).transpose()?;
            let y = cx.window(out, first * width..(first + m) * width)?;
            let residual =
                self.residual.map(|r| cx.window(r, first * width..(first + m) * width)).transpose()?;
            let params = matmul::Params {
                m: m as u32,
                n: n as u32,
                k: k as u32,
                k_slice: product.map_or(k, |(_, cut)| cut.slice(k)) as u32,
                m_base: first as u32,
                x_base: x.base(vector),
                residual_base: residual.as_ref().map_or(0, |r| r.base(vector)),
                y_base: y.base(vector),
                y_width: (width / vector) as u32,
                x_width: (x_width / vector) as u32,
                beside_base: beside.as_ref().map_or(0, |b| b.base(vector)),
                eps: self.norm.as_ref().map_or(0.0, |n| n.eps),
            };
            let residual = residual.map_or_else(|| weight.clone(), |r| r.binding);
            let mut operands = vec![x.binding, weight.clone()];
            let mut results = vec![bias.clone(), residual, y.binding];
            if let Some((product, cut)) = &product {
                match &self.norm {
                    Some(norm) => {
                        operands.extend([cx.bind(norm.gamma)?, cx.bind(norm.beta)?, cx.moments(self.x)?])
                    }
                    None => operands.push(beside.map_or_else(|| weight.clone(), |b| b.binding)),
                }
                if self.moments {
                    results.push(cx.moments(out)?);
                }
                let halves = [
                    Half { bindings: operands, overrides: operand_overrides.clone() },
                    Half { bindings: results, overrides: result_overrides.clone() },
                ];
                launch(cx, (product, cut), m, params, halves)?;
            } else {
                let variant = cx.variant("matmul_naive", &[a, w, "VEC1"])?;
                let params: matmul_naive::Params = bytemuck::cast(params);
                let groups = cx.flat(m * n);
                cx.dispatch(variant, &result_overrides, params, [operands, results].concat(), groups);
            }
        }
        Ok(())
    }
}
