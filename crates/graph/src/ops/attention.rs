use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// `softmax(scale · q kᵀ) v` for each head (Vaswani et al. 2017, arXiv:1706.03762). Heads lie side by side in the
/// channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// `[B, queries, heads · size]` (axes between may be more: rows are what counts).
    pub q: ValueId,
    /// `[B, keys, heads · size]`.
    pub k: ValueId,
    /// `[B, keys, heads · size]`.
    pub v: ValueId,
    /// How many heads.
    pub heads: usize,
    /// Multiplies the scores; `size^-1/2` as a rule.
    pub scale: f32,
    /// Whether a query sees no later key.
    pub causal: bool,
}

impl Attention {
    /// The largest head there are kernels for.
    pub const MAX_HEAD: usize = 512;
}

impl Operation for Attention {
    const NAME: &'static str = "attention";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.q);
        visit(&mut self.k);
        visit(&mut self.v);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let [q, k, v] = [self.q, self.k, self.v].map(|x| shapes.shape(x));
        let c = q.channels();
        ensure(q.rank() >= 3 && k.rank() >= 3, || format!("takes [B, rows, channels], not {q} and {k}"))?;
        ensure(k == v, || format!("takes keys and values of one shape, not {k} and {v}"))?;
        let same = c == k.channels() && q.dims()[0] == k.dims()[0];
        ensure(same, || format!("queries {q} do not go with keys {k}"))?;
        let divides = self.heads > 0 && c.is_multiple_of(self.heads);
        ensure(divides, || format!("cannot part {c} channels into {} heads", self.heads))?;
        ensure(c / self.heads <= Self::MAX_HEAD, || {
            format!("has heads of {} channels; at most {} are supported", c / self.heads, Self::MAX_HEAD)
        })?;
        Ok((q, Elem::Float))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (q, k) = (shapes.shape(self.q), shapes.shape(self.k));
        (q.numel() as u64).saturating_mul((k.rows() / k.dims()[0]) as u64).saturating_mul(4)
    }
}
