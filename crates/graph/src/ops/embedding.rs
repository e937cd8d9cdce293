use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// Rows of a table by id, plus each position's own row.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// `[B, tokens]`, u32.
    pub ids: ValueId,
    /// `[vocabulary, C]`, a weight.
    pub table: ValueId,
    /// `[tokens or more, C]`, a weight.
    pub positions: Option<ValueId>,
}

impl Operation for Embedding {
    const NAME: &'static str = "embedding";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.ids);
        visit(&mut self.table);
        self.positions.iter_mut().for_each(visit);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (ids, table) = (shapes.shape(self.ids), shapes.shape(self.table));
        let &[batch, tokens] = ids.dims() else { return Err(format!("takes ids [B, tokens], not {ids}")) };
        let &[_, channels] = table.dims() else { return Err(format!("takes a table [V, C], not {table}")) };
        if let Some(positions) = self.positions {
            let p = shapes.shape(positions);
            let fits = p.channels() == channels && p.rows() >= tokens;
            ensure(fits, || format!("has {tokens} tokens, but positions are {p}"))?;
        }
        Ok((Shape::new(&[batch, tokens, channels]), Elem::Float))
    }
}
