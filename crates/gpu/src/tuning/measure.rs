//! Which of several cuts of a product is fastest.

use super::{Draft, Question, arenas};
use crate::arenas::Arenas;
use crate::program::FLOPS_A_SUBMIT;
use crate::runner::Runner;
use calotype_graph::{Error, ProgramSpec, Recording};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Nodes that a product is timed at, at most. Each has weights of its own, which a cache does not hold as yet.
const NODES: u64 = 4;

/// Seconds that one run of these nodes may take; else one node is timed, or none.
const LONG: f64 = 0.1;

/// Timed runs of each cut.
const RUNS: usize = 5;

/// A cut whose first run takes this many times as long as the fastest one's is given up.
const SLOW: f64 = 1.5;

/// How long a device may idle, while kernels are compiled, before its clocks fall; and how long it works until they are up
/// again. An H200 at rest multiplied at a quarter of its speed, with its memory as fast as ever: cuts compare otherwise then.
const IDLE: Duration = Duration::from_millis(50);
const WAKE: Duration = Duration::from_millis(30);

/// By how much a cut must be faster than the table's.
const MARGIN: f64 = 0.03;

/// Seconds that runs of a product's nodes took in each of its drafts; none for one that is out of the question.
pub(super) async fn measure(
    gpu: &Runner,
    spec: &ProgramSpec<'_>,
    question: &Question,
    drafts: &[Draft],
) -> Result<Vec<Vec<f64>>, Error> {
    let [table, _, ..] = drafts else { return Ok(Vec::new()) };
    let needs = arenas(drafts.iter().map(|d| &d.plan));
    let arenas: Rc<Arenas> = Rc::default();
    arenas.reserve(&gpu.device, std::slice::from_ref(&needs))?;
    let program = |draft: &Draft, nodes: &[usize]| {
        let whole = &draft.recording;
        let dispatches = whole.dispatches.iter().filter(|d| nodes.contains(&d.node)).cloned().collect();
        let part = Recording { name: whole.name.clone(), dispatches, nodes: Vec::new() };
        gpu.program((&arenas, &needs), spec, &part)
    };
    let mut nodes = alike(&question.nodes, &table.recording);
    nodes.truncate((FLOPS_A_SUBMIT / question.node_flops.max(1)).clamp(1, NODES) as usize);
    let began = Instant::now();
    let all = drafts.iter().flat_map(|draft| &draft.recording.dispatches);
    gpu.pipelines.prepare(&gpu.device, &all.filter(|d| nodes.contains(&d.node)).cloned().collect::<Vec<_>>());
    let mut first = program(table, &nodes)?;
    // The first run of each is not counted: some drivers compile only now.
    first.seconds(&gpu.device).await?;
    let mut seconds = first.seconds(&gpu.device).await?;
    if seconds > LONG && nodes.len() > 1 {
        nodes.truncate(1);
        first = program(table, &nodes)?;
        seconds = first.seconds(&gpu.device).await?;
    }
    if seconds > LONG {
        return Ok(Vec::new());
    }
    let mut programs = vec![first];
    let mut firsts = vec![seconds];
    for draft in &drafts[1..] {
        let other = program(draft, &nodes)?;
        other.seconds(&gpu.device).await?;
        firsts.push(other.seconds(&gpu.device).await?);
        programs.push(other);
    }
    if began.elapsed() > IDLE {
        let began = Instant::now();
        while began.elapsed() < WAKE {
            programs[0].seconds(&gpu.device).await?;
        }
    }
    let fastest = firsts.iter().copied().fold(f64::INFINITY, f64::min);
    let mut samples = vec![Vec::new(); drafts.len()];
    for _ in 0..RUNS {
        // In turn, so that what the device does besides, or how warm it is, is the same to all.
        for (at, program) in programs.iter().enumerate() {
            if at == 0 || firsts[at] <= SLOW * fastest {
                samples[at].push(program.seconds(&gpu.device).await?);
            }
        }
    }
    Ok(samples)
}

/// The nodes that run the same kernel as most: so that each cut has but one to compile.
fn alike(nodes: &[usize], recording: &Recording) -> Vec<usize> {
    let overrides = |node| recording.dispatches.iter().find(|d| d.node == node).map(|d| &d.overrides);
    let like = |node| -> Vec<usize> {
        nodes.iter().copied().filter(|other| overrides(*other) == overrides(node)).collect()
    };
    nodes.iter().map(|node| like(*node)).max_by_key(Vec::len).unwrap_or_default()
}

/// Which of several cuts is best by their times: the first, the table's, unless another is faster by more than noise:
/// its median below every time of the table's.
pub(super) fn best(samples: &[Vec<f64>]) -> usize {
    let Some(table) = samples.first().filter(|s| !s.is_empty()) else { return 0 };
    let least = table.iter().copied().fold(f64::INFINITY, f64::min).min((1.0 - MARGIN) * median(table));
    let medians = samples.iter().enumerate().filter(|(_, s)| !s.is_empty()).map(|(at, s)| (at, median(s)));
    let best = medians.min_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, median)| *median < least).map_or(0, |(at, _)| at)
}

pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_gives_way_only_to_what_is_faster_beyond_noise() {
        let table = vec![1.0, 1.02, 1.04, 1.05, 1.01];
        let of = |other: [f64; 3]| best(&[table.clone(), other.to_vec()]);
        assert_eq!(of([0.7, 0.8, 0.9]), 1);
        assert_eq!(of([0.7, 1.01, 1.1]), 0, "its median is not below all of the table's");
        assert_eq!(of([0.999, 0.998, 0.997]), 0, "within the margin");
        assert_eq!(of([1.2, 1.3, 1.4]), 0);
        assert_eq!(best(&[table.clone(), vec![], vec![0.5; 3], vec![0.4; 3]]), 3);
        // Too long to try; and a clock that stands still.
        assert_eq!(best(&[]), 0);
        assert_eq!(best(&[vec![0.0; 3], vec![0.0; 3]]), 0);
    }
}
