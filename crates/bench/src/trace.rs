//! Launches in the Trace Event Format that ui.perfetto.dev and chrome://tracing open ("complete" events: name, begin
//! and duration in microseconds).

use calotype::Span;
use calotype::measure::{StageProfile, Work};
use serde_json::{Value as Json, json};

/// The last run of each stage, one after another: a row a stage.
pub fn trace(device: &str, stages: &[StageProfile]) -> Json {
    let name = |thread: Option<usize>, name: &str| {
        let what = if thread.is_some() { "thread_name" } else { "process_name" };
        json!({"ph": "M", "pid": 1, "tid": thread.unwrap_or(0), "name": what, "args": {"name": name}})
    };
    let mut events = vec![name(None, device)];
    let mut begin = 0.0;
    for (i, stage) in stages.iter().enumerate() {
        events.push(name(Some(i + 1), &stage.stage.to_string()));
        let spans = stage.runs.last().map(Vec::as_slice).unwrap_or_default();
        events.extend(spans.iter().map(|span| event(span, &stage.nodes[span.node], begin, i + 1)));
        begin += spans.iter().map(|span| span.start + span.seconds).fold(0.0, f64::max);
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

fn event(span: &Span, work: &Work, begin: f64, thread: usize) -> Json {
    json!({
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "name": span.kernel,
        "cat": work.op,
        "ts": (begin + span.start) * 1e6,
        "dur": span.seconds * 1e6,
        "args": {"node": work.name, "shapes": work.shapes, "flops": work.flops, "bytes": work.bytes},
    })
}
