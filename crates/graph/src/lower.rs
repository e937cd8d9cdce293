//! From a planned graph to a [`Recording`]: which kernel runs each node on this device, over which bytes, with
//! how many workgroups. Plain data: it can be printed, diffed and counted with no GPU present.

pub use crate::caps::Caps;
pub use crate::cuts::{Cut, Matrices, Product, Tier, Tuned, at_once, candidates, cut, estimated, time};
use crate::error::Error;
use crate::graph::Graph;
pub use crate::launch::by_columns;
use crate::launch::{Context, Lower, Stored};
use crate::places::Plan;
use crate::precision::Precision;
pub use crate::recording::{Binding, Dispatch, Operand, Recording};

/// Lowers a graph under a plan made for the same precision and device.
pub fn lower(graph: &Graph, plan: &Plan, precision: Precision, caps: &Caps) -> Result<Recording, Error> {
    let stored = Stored::new(graph.values(), graph.weights(), precision, caps);
    let mut cx = Context::new(stored, plan, &graph.name, graph.outputs());
    for (index, node) in graph.nodes().iter().enumerate() {
        cx.begin(index, &node.name);
        node.op.lower(&mut cx, node.output)?;
    }
    let nodes = graph.nodes().iter().map(|n| n.name.clone()).collect();
    Ok(Recording { name: graph.name.clone(), dispatches: cx.finish(), nodes })
}
