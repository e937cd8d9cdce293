use crate::executor::buffer;
use crate::memory::{Buffer, Meter, Spare};
use crate::ops;
use calotype_graph::ops::{Shapes, StepRow};
use calotype_graph::{Error, Graph, Ports, Source, ValueId, WeightId};
use calotype_tensor::Shape;
use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

/// A graph with its ports and weights at hand, and what each node may forget when it has run.
pub(crate) struct Compiled {
    graph: Graph,
    /// Ports and weights, by value; nodes' values come and go during a run.
    bound: Vec<Option<Rc<Buffer>>>,
    /// By node: values that nothing reads after it.
    dead: Vec<Vec<ValueId>>,
    /// Outputs in their order, with their ports.
    outputs: Vec<(ValueId, Rc<Buffer>)>,
    spare: Rc<Spare>,
    meter: Meter,
}

/// What an op sees as it runs: its operands.
pub(crate) struct Values<'a> {
    graph: &'a Graph,
    buffers: RefCell<Vec<Option<Rc<Buffer>>>>,
    row: usize,
    spare: &'a Spare,
    meter: &'a Meter,
}

impl Compiled {
    pub fn new(
        graph: &Graph,
        ports: &Ports,
        weight: &dyn Fn(WeightId, Shape) -> Option<Rc<Buffer>>,
        spare: Rc<Spare>,
        meter: Meter,
    ) -> Result<Self, Error> {
        let port = |name: &str, id: ValueId| {
            let wrong = |problem: String| Error::Device(format!("{}: {name}: {problem}", graph.name));
            let port = ports.get(name).ok_or_else(|| wrong("no port was given".into()))?;
            let shape = graph.shape(id);
            if port.shape.numel() != shape.numel() {
                return Err(wrong(format!("a port {} was given for {shape}", port.shape)));
            }
            buffer(port)
        };
        let mut bound = vec![None; graph.values().len()];
        for (name, id) in graph.inputs() {
            bound[id.index()] = Some(port(name, id)?);
        }
        for (slot, value) in bound.iter_mut().zip(graph.values()) {
            if let Source::Weight(id) = value.source {
                let name = || graph.weights()[id.index()].name();
                let missing = || Error::Weight(format!("{}: weight {} was not loaded", graph.name, name()));
                *slot = Some(weight(id, value.shape).ok_or_else(missing)?);
            }
        }
        let outputs: Vec<(ValueId, Rc<Buffer>)> = graph
            .outputs()
            .iter()
            .map(|(name, id)| Ok((*id, port(name, *id)?)))
            .collect::<Result<_, Error>>()?;

        let mut dead = vec![Vec::new(); graph.nodes().len()];
        let mut seen: Vec<bool> = bound.iter().map(Option::is_some).collect();
        outputs.iter().for_each(|(id, _)| seen[id.index()] = true);
        for (node, dead) in graph.nodes().iter().zip(&mut dead).rev() {
            for id in node.op.operands().into_iter().map(|v| graph.root(v)).chain([node.output]) {
                if !std::mem::replace(&mut seen[id.index()], true) {
                    dead.push(id);
                }
            }
        }
        Ok(Self { graph: graph.clone(), bound, dead, outputs, spare, meter })
    }

    pub fn run(&self, row: usize) -> Result<(), Error> {
        self.run_with(row, |_, _| ())
    }

    /// Runs, and tells `done` of each node by its index and the name of its op, when it is done.
    pub fn run_with(&self, row: usize, mut done: impl FnMut(usize, &'static str)) -> Result<(), Error> {
        let values = Values {
            graph: &self.graph,
            buffers: RefCell::new(self.bound.clone()),
            row,
            spare: &self.spare,
            meter: &self.meter,
        };
        for (index, (node, dead)) in self.graph.nodes().iter().zip(&self.dead).enumerate() {
            let at =
                |problem: String| Error::Device(format!("{}: {}: {problem}", self.graph.name, node.name));
            let y = self.spare.take(&node.name, values.shape(node.output).numel(), &self.meter)?;
            ops::run(&node.op, &values, &mut y.write()).map_err(at)?;
            values.buffers.borrow_mut()[node.output.index()] = Some(y);
            for id in dead {
                if let Some(buffer) = values.buffers.borrow_mut()[id.index()].take() {
                    self.spare.give(buffer);
                }
            }
            done(index, node.op.name());
        }
        for (id, port) in &self.outputs {
            // Copied, since two outputs may be one value, and an output may be an input.
            let value = values.buffers.borrow()[id.index()].clone().expect("outputs are kept to the end");
            if !Rc::ptr_eq(&value, port) {
                port.write().copy_from_slice(&value.read());
            }
        }
        for (buffer, bound) in values.buffers.into_inner().into_iter().zip(&self.bound) {
            if let (Some(buffer), None) = (buffer, bound) {
                self.spare.give(buffer);
            }
        }
        Ok(())
    }
}

/// A value for as long as an op looks at it.
pub(crate) struct Held(Rc<Buffer>);

impl Held {
    pub fn read(&self) -> Ref<'_, [f32]> {
        self.0.read()
    }

    pub fn write(&self) -> RefMut<'_, [f32]> {
        self.0.write()
    }
}

impl Shapes for Values<'_> {
    fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }
}

impl Values<'_> {
    pub fn get(&self, id: ValueId) -> Held {
        let buffer = self.buffers.borrow()[id.index()].clone();
        Held(buffer.expect("a graph's nodes stand in an order in which they can run"))
    }

    /// A value, or the channels of one, by strides: what they lie in, from one row to the next, and the first.
    pub fn columns(&self, id: ValueId) -> (Held, usize, usize) {
        let (root, from) = self.graph.columns(id);
        (self.get(root), self.shape(root).channels(), from)
    }

    /// Words of the op's own while it runs; their contents are anything.
    pub fn scratch(&self, len: usize) -> Result<Scratch<'_>, String> {
        let buffer = self.spare.take("scratch", len, self.meter).map_err(|e| e.to_string())?;
        Ok(Scratch { buffer: Some(buffer), spare: self.spare })
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

/// Given back when dropped.
pub(crate) struct Scratch<'a> {
    buffer: Option<Rc<Buffer>>,
    spare: &'a Spare,
}

impl Scratch<'_> {
    pub fn write(&self) -> RefMut<'_, [f32]> {
        self.buffer.as_ref().expect("it is there until it is dropped").write()
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        self.buffer.take().into_iter().for_each(|b| self.spare.give(b));
    }
}
