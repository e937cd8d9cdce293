use crate::values::Values;
use calotype_graph::ops::{Embedding, Shapes};

/// Rows of a table by id, plus each position's own row.
pub(super) fn run(op: &Embedding, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let (ids, table) = (values.get(op.ids), values.get(op.table));
    let (added, positions) = (op.added.map(|a| values.get(a)), op.positions.map(|p| values.get(p)));
    let added = added.as_ref().map(|a| a.read());
    let positions = positions.as_ref().map(|p| p.read());
    let (ids, table) = (ids.read(), table.read());
    let (tokens, width) = (values.shape(op.ids).channels(), values.shape(op.table).channels());
    if width == 0 {
        return Ok(());
    }
    let ids: &[u32] = bytemuck::cast_slice(&ids);
    for (i, (y, &id)) in y.chunks_exact_mut(width).zip(ids).enumerate() {
        let (id, known) = (id as usize, table.len() / width);
        let row = match &added {
            Some(added) if id >= known => added.chunks_exact(width).nth(id - known),
            _ => table.chunks_exact(width).nth(id),
        };
        y.copy_from_slice(row.ok_or_else(|| format!("token id {id} is past the vocabulary's {known} rows"))?);
        if let Some(positions) = &positions {
            let row = &positions[i % tokens * width..][..width];
            y.iter_mut().zip(row).for_each(|(y, p)| *y += p);
        }
    }
    Ok(())
}
