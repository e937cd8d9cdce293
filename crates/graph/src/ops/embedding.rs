use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, flag, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::embedding;
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

impl Lower for Embedding {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (ids, table) = (cx.shape(self.ids), cx.shape(self.table));
        let [vocabulary, c]: [usize; 2] = table.dims().try_into().expect("checked when added");
        let vector = vector(&[c]);
        let (a, w) = (cx.a(), cx.w(self.table));
        let variant = cx.variant("embedding", &[a, w, if vector == 4 { "VEC4" } else { "VEC1" }])?;
        let count = ids.numel() * c / vector;
        let band = cx.rows_that_fit(vocabulary, &[self.table]);
        for first in (0..vocabulary).step_by(band) {
            let end = (first + band).min(vocabulary);
            let rows = cx.window(self.table, first * c..end * c)?;
            let params = embedding::Params {
                count: count as u32,
                width: (c / vector) as u32,
                tokens: ids.channels() as u32,
                begin: first as u32,
                end: end as u32,
                base: rows.base(vector),
            };
            let positions = cx.bind_or(self.positions, &rows.binding)?;
            let bindings = vec![cx.bind(self.ids)?, rows.binding, positions, cx.bind(out)?];
            let groups = cx.flat(count);
            cx.dispatch(variant, &[("POSITIONS", flag(self.positions.is_some()))], params, bindings, groups);
        }
        Ok(())
    }
}
