//! What ops are lent of a run: their operands and scratch.

use crate::memory::Buffer;
use calotype_graph::ops::{Shapes, StepRow};
use calotype_graph::{Graph, ValueId};
use calotype_tensor::Shape;
use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

/// What an op sees as it runs: its operands.
pub(crate) struct Values<'a> {
    pub graph: &'a Graph,
    pub bound: &'a [Option<Rc<Buffer>>],
    pub computed: Vec<(ValueId, &'a [f32])>,
    pub scratch: RefCell<std::vec::IntoIter<&'a mut [f32]>>,
    pub row: usize,
}

/// A value for as long as an op looks at it.
pub(crate) enum Operand<'a> {
    /// Computed by this graph.
    Computed(&'a [f32]),
    /// A port or a weight.
    Bound(&'a Buffer),
}

/// A value's numbers.
pub(crate) enum Numbers<'a> {
    Slice(&'a [f32]),
    Guard(Ref<'a, [f32]>),
}

impl<'a> Operand<'a> {
    pub fn read(&self) -> Numbers<'a> {
        match self {
            Self::Computed(values) => Numbers::Slice(values),
            Self::Bound(buffer) => Numbers::Guard(buffer.read()),
        }
    }

    /// Of a port, to update it.
    pub fn write(&self) -> RefMut<'a, [f32]> {
        match self {
            Self::Computed(_) => unreachable!("ops update inputs only"),
            Self::Bound(buffer) => buffer.write(),
        }
    }
}

impl std::ops::Deref for Numbers<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Slice(values) => values,
            Self::Guard(values) => values,
        }
    }
}

impl Shapes for Values<'_> {
    fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }
}

impl<'a> Values<'a> {
    pub fn get(&self, id: ValueId) -> Operand<'a> {
        match self.computed.iter().find(|(computed, _)| *computed == id) {
            Some((_, values)) => Operand::Computed(values),
            None => {
                Operand::Bound(self.bound[id.index()].as_deref().expect("an operand is computed or bound"))
            }
        }
    }

    /// A value, or the channels of one, by strides: what they lie in, from one row to the next, and the first.
    pub fn columns(&self, id: ValueId) -> (Operand<'a>, usize, usize) {
        let (root, from) = self.graph.columns(id);
        (self.get(root), self.shape(root).channels(), from)
    }

    /// Words of the op's own while it runs, as [`ops::scratch`] foretold them, one after the other; their contents are
    /// anything.
    pub fn scratch(&self, len: usize) -> Result<&'a mut [f32], String> {
        let next = self.scratch.borrow_mut().next().and_then(|part| part.get_mut(..len));
        next.ok_or_else(|| format!("takes {len} numbers of scratch that were not planned"))
    }

    /// This run's row of the step table.
    pub fn step(&self, table: ValueId) -> Result<StepRow, String> {
        let (held, rows) = (self.get(table), self.shape(table).rows());
        let words = held.read();
        let row = words.chunks_exact(StepRow::WORDS).nth(self.row);
        let row = row.ok_or_else(|| format!("step {} of a table of {rows} was asked for", self.row))?;
        Ok(bytemuck::pod_read_unaligned(&bytemuck::cast_slice(row)[..size_of::<StepRow>()]))
    }
}
