use crate::error::Result;
use crate::parts::Stage;
use calotype_graph::ops::Shapes;
use calotype_graph::plan::bytes_of;
use calotype_graph::{
    Clock, Error, Executor, Graph, Layout, Node, Op, Precision, Program, Source, Span, ValueId,
};
use calotype_tensor::Shape;

/// A stage of a run with every launch timed.
#[derive(Clone, Debug)]
pub struct StageProfile {
    /// Which it is.
    pub stage: Stage,
    /// Whose clock it was.
    pub clock: Clock,
    /// What each node of the stage's graph does, by index.
    pub nodes: Vec<Work>,
    /// The launches of each run, in order; the same ones every time.
    pub runs: Vec<Vec<Span>>,
}

/// What a node does, and the least it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its path in the model.
    pub name: String,
    /// The op's name.
    pub op: &'static str,
    /// Its operands (vectors left out) and what it yields, such as `2x64x64x320 · 2880x320 → 2x64x64x320`.
    pub shapes: String,
    /// Floating-point operations, a multiply and an add counted as two.
    pub flops: u64,
    /// Bytes that must move: each operand once, and the output.
    pub bytes: u64,
}

impl StageProfile {
    pub(super) async fn take(
        exec: &dyn Executor,
        (stage, graph): (Stage, &Graph),
        (program, precision): (&Program, Precision),
        runs: usize,
    ) -> Result<Self> {
        let mut profiles = Vec::new();
        for _ in 0..runs.max(1) {
            profiles.push(exec.profile(program, 0).await?);
        }
        let clock = profiles[0].clock;
        let nodes: Vec<Work> = graph.nodes().iter().map(|n| Work::of(graph, n, precision, clock)).collect();
        let runs: Vec<Vec<Span>> = profiles.into_iter().map(|p| p.spans).collect();
        if runs.iter().flatten().any(|span| span.node >= nodes.len()) {
            let message = format!("the {stage} on the device is not the graph that was drawn up");
            return Err(Error::Device(message).into());
        }
        Ok(Self { stage, clock, nodes, runs })
    }
}

impl Work {
    fn of(graph: &Graph, node: &Node, precision: Precision, clock: Clock) -> Self {
        let mut operands = node.op.operands();
        let shown: Vec<String> = operands
            .iter()
            .filter(|v| graph.shape(**v).rank() > 1 && !is_vector(graph, **v))
            .map(|v| dims(graph.shape(*v)))
            .collect();
        operands.sort();
        operands.dedup();
        let output = graph.shape(node.output);
        // The CPU keeps everything in 32 bits.
        let whole = |v: ValueId| match clock {
            Clock::Host => 4 * graph.shape(v).numel() as u64,
            _ => bytes_of(graph, v, precision),
        };
        // Of a table only what comes out is read.
        let looks_up = matches!(node.op, Op::Embedding(_) | Op::Row(_));
        let bytes = |v: ValueId| if looks_up { whole(v).min(whole(node.output)) } else { whole(v) };
        Self {
            name: node.name.clone(),
            op: node.op.name(),
            shapes: format!("{} → {}", shown.join(" · "), dims(output)),
            flops: node.op.flops(graph),
            bytes: operands.into_iter().map(bytes).sum::<u64>() + bytes(node.output),
        }
    }
}

/// Whether a value is a bias or a norm's weights, which say nothing of the work.
fn is_vector(graph: &Graph, value: ValueId) -> bool {
    match graph.value(value).source {
        Source::Weight(id) => graph.weights()[id.index()].layout == Layout::Vector,
        _ => false,
    }
}

/// `2x64x64x320`.
fn dims(shape: Shape) -> String {
    let sides: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
    if sides.is_empty() { "1".into() } else { sides.join("x") }
}
