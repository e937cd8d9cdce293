use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, flag, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::embedding;
use calotype_tensor::Shape;

/// Rows of a table by id, plus each position's own row. Ids past the table are rows of another: words that were added.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// `[B, tokens]`, u32.
    pub ids: ValueId,
    /// `[vocabulary, C]`, a weight.
    pub table: ValueId,
    /// `[rows, C]`: what the ids from `vocabulary` on stand for.
    pub added: Option<ValueId>,
    /// `[tokens or more, C]`, a weight.
    pub positions: Option<ValueId>,
}

impl Operation for Embedding {
    const NAME: &'static str = "embedding";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.ids);
        visit(&mut self.table);
        self.added.iter_mut().for_each(&mut *visit);
        self.positions.iter_mut().for_each(visit);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (ids, table) = (shapes.shape(self.ids), shapes.shape(self.table));
        let &[batch, tokens] = ids.dims() else { return Err(format!("takes ids [B, tokens], not {ids}")) };
        let &[_, channels] = table.dims() else { return Err(format!("takes a table [V, C], not {table}")) };
        if let Some(added) = self.added {
            let a = shapes.shape(added);
            ensure(a.rank() == 2 && a.channels() == channels, || {
                format!("takes added rows [N, {channels}], not {a}")
            })?;
        }
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
            // Ids past the table belong to the dispatch that has its end.
            let added = self.added.filter(|_| end == vocabulary);
            let overrides = [("POSITIONS", flag(self.positions.is_some())), ("ADDED", flag(added.is_some()))];
            let [added, positions] = [added, self.positions].map(|value| cx.bind_or(value, &rows.binding));
            let bindings = vec![cx.bind(self.ids)?, rows.binding, added?, positions?, cx.bind(out)?];
            cx.dispatch(variant, &overrides, params, bindings, cx.flat(count));
        }
        Ok(())
    }
}
