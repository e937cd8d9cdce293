use crate::memory::{Arena, Buffer, Claim, carve};
use crate::ops;
use crate::values::Values;
use calotype_graph::ops::Shapes;
use calotype_graph::plan::{Place, Plan};
use calotype_graph::{Error, Graph, Ports, Source, ValueId, WeightId};
use calotype_tensor::Shape;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// A graph with its ports and weights at hand, and where in the arena each node finds what it needs.
pub(crate) struct Compiled {
    graph: Graph,
    /// Ports and weights, by value.
    bound: Vec<Option<Rc<Buffer>>>,
    /// By node.
    parts: Vec<Parts>,
    /// Outputs in their order: where they are computed, if they are, and their ports.
    outputs: Vec<(ValueId, Option<Range<usize>>, Rc<Buffer>)>,
    /// What the values lie in that the graph computes.
    arena: Rc<Arena>,
    _claim: Claim,
}

/// Of the arena, what a node reads and writes.
struct Parts {
    /// The output, then the operands that are computed, then scratch.
    ranges: Vec<Range<usize>>,
    /// The operands' ids.
    operands: Vec<ValueId>,
}

impl Parts {
    fn new(graph: &Graph, plan: &Plan, node: usize) -> Self {
        let range = |place: &Place| {
            let words = |bytes: u64| (bytes / 4) as usize;
            words(place.offset)..words(place.offset + place.bytes)
        };
        let value = |id: ValueId| plan.places.get(&id).map(range);
        let own = &graph.nodes()[node];
        let mut operands: Vec<ValueId> = own.op.operands().into_iter().map(|v| graph.root(v)).collect();
        operands.retain(|v| plan.places.contains_key(v));
        operands.sort_unstable();
        operands.dedup();
        let scratch = plan.scratch.get(&node).into_iter().flatten().map(range);
        let ranges = value(own.output).into_iter().chain(operands.iter().copied().filter_map(value));
        Self { ranges: ranges.chain(scratch).collect(), operands }
    }
}

impl Compiled {
    pub fn new(
        graph: &Graph,
        ports: &Ports,
        weight: &dyn Fn(WeightId, Shape) -> Option<Rc<Buffer>>,
        plan: &Plan,
        (arena, claim): (Rc<Arena>, Claim),
    ) -> Result<Self, Error> {
        let port = |name: &str, id: ValueId| {
            let wrong = |problem: String| Error::Device(format!("{}: {name}: {problem}", graph.name));
            let port = ports.get(name).ok_or_else(|| wrong("no port was given".into()))?;
            let shape = graph.shape(id);
            if port.shape.numel() != shape.numel() {
                return Err(wrong(format!("a port {} was given for {shape}", port.shape)));
            }
            Buffer::of(port)
        };
        let mut bound = vec![None; graph.values().len()];
        for (name, id) in graph.inputs() {
            bound[id.index()] = Some(port(name, id)?);
        }
        for (slot, value) in bound.iter_mut().zip(graph.values()) {
            if let Source::Weight(id) = value.source {
                let name = || graph.weights()[id.index()].name();
                let missing = || Error::Device(format!("{}: weight {} was not loaded", graph.name, name()));
                *slot = Some(weight(id, value.shape).ok_or_else(missing)?);
            }
        }
        let parts: Vec<Parts> = (0..graph.nodes().len()).map(|node| Parts::new(graph, plan, node)).collect();
        let outputs = graph
            .outputs()
            .iter()
            .map(|(name, id)| {
                let node = graph.nodes().iter().position(|n| n.output == *id);
                Ok((*id, node.map(|node| parts[node].ranges[0].clone()), port(name, *id)?))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { graph: graph.clone(), bound, parts, outputs, arena, _claim: claim })
    }

    pub fn run(&self, row: usize) -> Result<(), Error> {
        self.run_with(row, |_, _| ())
    }

    /// Runs, and tells `done` of each node by its index and the name of its op, when it is done.
    pub fn run_with(&self, row: usize, mut done: impl FnMut(usize, &'static str)) -> Result<(), Error> {
        let arena = self.arena.buffer()?;
        let mut arena = arena.write();
        for (index, (node, parts)) in self.graph.nodes().iter().zip(&self.parts).enumerate() {
            let at =
                |problem: String| Error::Device(format!("{}: {}: {problem}", self.graph.name, node.name));
            let mut ranges = carve(&mut arena, &parts.ranges).into_iter();
            let y = ranges.next().expect("every output has a place");
            let y = &mut y[..self.graph.shape(node.output).numel()];
            let computed = parts.operands.iter().zip(ranges.by_ref()).map(|(id, part)| {
                let part: &[f32] = part;
                (*id, &part[..self.graph.shape(*id).numel()])
            });
            let values = Values {
                graph: &self.graph,
                bound: &self.bound,
                computed: computed.collect(),
                scratch: RefCell::new(ranges),
                row,
            };
            ops::run(&node.op, &values, y).map_err(at)?;
            done(index, node.op.name());
        }
        for (id, computed, port) in &self.outputs {
            // Copied, since two outputs may be one value, and an output may be an input.
            match (computed, &self.bound[id.index()]) {
                (Some(range), _) => {
                    port.write().copy_from_slice(&arena[range.clone()][..port.len()]);
                }
                (None, Some(value)) if !Rc::ptr_eq(value, port) => {
                    port.write().copy_from_slice(&value.read());
                }
                (None, _) => {}
            }
        }
        Ok(())
    }
}
