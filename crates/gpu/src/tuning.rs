//! The autotuner: tries products of the very graphs that will run, with their weights and in their buffers, in each of
//! their likely cuts, and keeps what the device's clock says is fastest.

use crate::adapter::{Choice, Tuning};
use crate::device::{Buffer, Device};
use crate::executor::GpuExecutor;
use crate::program::{FLOPS_A_SUBMIT, GpuProgram};
use crate::tuned::{Findings, Found, Memo};
use calotype_graph::lower::{Cut, Product, Tuned, candidates, cut, time};
use calotype_graph::{Caps, Error, Executor, ProgramSpec, Recording, lower, plan};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a start may take for it. Compiling the kernels takes most of that.
const BUDGET: Duration = Duration::from_secs(3);

/// Cuts that are tried of a product, at most: the best by the estimate.
const MOST_CUTS: usize = 8;

/// A cut is not worth trying if by the estimate it takes this many times as long as the best.
const FAR: f64 = 3.0;

/// Nodes that a product is timed at, at most. Each has weights of its own, which a cache does not hold as yet.
const NODES: usize = 4;

/// Seconds that one run of these nodes may take; else one node is timed, or none.
const LONG: f64 = 0.05;

/// Timed runs of each cut.
const RUNS: usize = 5;

/// A cut whose first run takes this many times as long as the fastest one's is given up.
const SLOW: f64 = 1.5;

/// By how much a cut must be faster than the table's.
const MARGIN: f64 = 0.03;

/// What is known of a device's products, and the time left to learn more.
pub(crate) struct Tuner {
    memo: Option<Memo>,
    tuned: RefCell<Arc<Tuned>>,
    left: Cell<Duration>,
}

/// A product whose best cut is not known.
struct Question {
    product: Product,
    /// Where it occurs: in which program, and at which of its nodes.
    spec: usize,
    nodes: Vec<usize>,
    /// What to try; first the table's.
    cuts: Vec<Cut>,
    /// Operations of one of the nodes.
    node_flops: u64,
}

/// A program with every question's cut of each number, and which cut its nodes got. None where it does not get along with
/// the memory that it takes with the table's cuts.
type Drafts = Vec<Option<(Recording, HashMap<usize, (Product, Cut)>)>>;

impl Tuner {
    /// With what earlier starts found. None where nothing is to be tuned, or no clock could tell.
    pub fn open(device: &Device, choice: &Choice) -> Option<Self> {
        let wanted = match choice.tuning {
            Tuning::Off => false,
            Tuning::Auto => device.report.kind != "cpu",
            Tuning::Always => true,
        };
        if !wanted || !device.raw.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let memo = Memo::of(device);
        let tuned = memo.as_ref().map(|memo| memo.read(&device.caps)).unwrap_or_default();
        log::info!(
            "{}: the cuts of {} products are known from earlier starts",
            device.report.name,
            tuned.len()
        );
        Some(Self { memo, tuned: RefCell::new(Arc::new(tuned)), left: Cell::new(BUDGET) })
    }

    /// The best cuts known.
    pub fn known(&self) -> Arc<Tuned> {
        self.tuned.borrow().clone()
    }

    /// Answers as many questions as there is time for, those of the first programs and the largest products first.
    pub async fn tune(
        &self,
        gpu: &GpuExecutor,
        specs: &[ProgramSpec<'_>],
        begins: &dyn Fn(usize),
    ) -> Result<(), Error> {
        let (start, caps) = (Instant::now(), gpu.caps());
        let questions = questions(specs, &caps);
        if questions.is_empty() || self.left.get().is_zero() {
            return Ok(());
        }
        begins(questions.len());
        let before = pool(specs, &caps)?;
        let drafts: Vec<Drafts> = specs.iter().map(|s| drafts(s, &questions, &caps, &before)).collect();
        let mut findings = Findings::new();
        let mut tuned = Tuned::clone(&caps.tuned);
        {
            // No more memory than the programs take that come after.
            let arenas = gpu.arenas(&before)?;
            for question in &questions {
                if start.elapsed() > self.left.get() {
                    break;
                }
                let (spec, drafts) = (&specs[question.spec], &drafts[question.spec]);
                let samples = match measure(gpu, &arenas, spec, drafts, question).await {
                    Ok(samples) => samples,
                    Err(e) => {
                        log::warn!("{}: not tuned: {e}", question.product);
                        gpu.forgive();
                        Vec::new()
                    }
                };
                gpu.device.check()?;
                let at = best(&samples);
                let ratio = if at == 0 { 1.0 } else { median(&samples[at]) / median(&samples[0]) };
                let (product, chosen, table) = (&question.product, question.cuts[at], question.cuts[0]);
                match at {
                    0 => log::info!("{product}: {table}, as in the table"),
                    _ => {
                        log::info!("{product}: {chosen} takes {ratio:.2} of the time of the table's {table}")
                    }
                }
                tuned.insert(*product, chosen);
                findings.insert(product.to_string(), Found { cut: chosen.to_string(), ratio });
            }
        }
        // What was dropped is given back before anything takes its place.
        gpu.device.wait().await?;
        let tuned_caps = |tuned: &Tuned| Caps { tuned: Arc::new(tuned.clone()), ..caps.clone() };
        if !fits(&pool(specs, &tuned_caps(&tuned))?, &before) {
            // Each cut kept within the plan, but not all of them together.
            for question in &questions {
                let table = question.cuts[0];
                if tuned.get(&question.product).is_some_and(|cut| cut.splits > table.splits) {
                    log::info!("{}: {table} after all, for its memory", question.product);
                    tuned.insert(question.product, table);
                    findings
                        .insert(question.product.to_string(), Found { cut: table.to_string(), ratio: 1.0 });
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        log::info!("{} of {} products were tuned in {seconds:.1} s", findings.len(), questions.len());
        if let Some(memo) = self.memo.as_ref().filter(|_| !findings.is_empty()) {
            memo.add(&findings);
        }
        self.tuned.replace(Arc::new(tuned));
        self.left.set(self.left.get().saturating_sub(start.elapsed()));
        Ok(())
    }
}

/// Products of these programs that there is a choice for and nothing known of; those of the first programs come first, and
/// of a program's the largest.
fn questions(specs: &[ProgramSpec<'_>], caps: &Caps) -> Vec<Question> {
    let mut all: Vec<Question> = Vec::new();
    if caps.only_cut.is_some() {
        return all;
    }
    let mut answered: HashSet<Product> = caps.tuned.keys().copied().collect();
    for (at, spec) in specs.iter().enumerate() {
        let first = all.len();
        for (index, node) in spec.graph.nodes().iter().enumerate() {
            let Some(product) = Product::of(spec.graph, node, spec.precision, caps) else { continue };
            let node_flops = node.op.flops(spec.graph);
            match all[first..].iter_mut().find(|q| q.product == product) {
                Some(known) => known.nodes.push(index),
                None if answered.insert(product) => {
                    let cuts = worth_trying(caps, &product);
                    if cuts.len() > 1 {
                        all.push(Question { product, spec: at, nodes: vec![index], cuts, node_flops });
                    }
                }
                None => {}
            }
        }
        all[first..].sort_by_key(|q| std::cmp::Reverse(q.node_flops * q.nodes.len() as u64));
    }
    all
}

/// The cuts that may be a product's best, by the estimate; first the table's.
fn worth_trying(caps: &Caps, product: &Product) -> Vec<Cut> {
    let table = cut(caps, product);
    let time = |c: &Cut| time(caps, product, c);
    let most = FAR * time(&table);
    let mut others = candidates(caps, product);
    others.retain(|c| *c != table && time(c) <= most);
    others.sort_by(|a, b| time(a).total_cmp(&time(b)));
    std::iter::once(table).chain(others).take(MOST_CUTS).collect()
}

fn drafts(spec: &ProgramSpec<'_>, questions: &[Question], caps: &Caps, before: &[u64]) -> Drafts {
    let rounds = questions.iter().map(|q| q.cuts.len()).max().unwrap_or(0);
    let draft = |round: usize| {
        let mut tuned = Tuned::clone(&caps.tuned);
        tuned.extend(questions.iter().filter_map(|q| Some((q.product, *q.cuts.get(round)?))));
        let caps = Caps { tuned: Arc::new(tuned), ..caps.clone() };
        let plan = plan::plan(spec.graph, spec.precision, &caps).ok().filter(|p| fits(&p.buffers, before))?;
        Some((lower(spec.graph, &plan, spec.precision, &caps).ok()?, plan.cuts))
    };
    (0..rounds).map(draft).collect()
}

/// The activation buffers that programs share on a device.
fn pool(specs: &[ProgramSpec<'_>], caps: &Caps) -> Result<Vec<u64>, Error> {
    let plan = |s: &ProgramSpec<'_>| plan::plan(s.graph, s.precision, caps);
    let plans = specs.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    Ok(plan::pool(&plans.iter().collect::<Vec<_>>()))
}

fn fits(wanted: &[u64], there: &[u64]) -> bool {
    wanted.len() <= there.len() && wanted.iter().zip(there).all(|(a, b)| a <= b)
}

/// Seconds that runs of a product's nodes took in each of its cuts; none for one that is out of the question.
async fn measure(
    gpu: &GpuExecutor,
    arenas: &[Rc<Buffer>],
    spec: &ProgramSpec<'_>,
    drafts: &Drafts,
    question: &Question,
) -> Result<Vec<Vec<f64>>, Error> {
    let program = |draft: &Recording, nodes: &[usize]| {
        let dispatches = draft.dispatches.iter().filter(|d| nodes.contains(&d.node)).cloned().collect();
        let part = Recording { name: draft.name.clone(), dispatches, nodes: Vec::new() };
        GpuProgram::new(&gpu.device, &gpu.pipelines, &gpu.weights, arenas, spec, &part)
    };
    let Some(Some((table, _))) = drafts.first() else { return Ok(Vec::new()) };
    let mut nodes = alike(&question.nodes, table);
    nodes.truncate((FLOPS_A_SUBMIT / question.node_flops.max(1)).clamp(1, NODES as u64) as usize);
    let mut first = program(table, &nodes)?;
    first.seconds(&gpu.device).await?; // The first run wakes the device up.
    let mut seconds = first.seconds(&gpu.device).await?;
    if seconds > LONG && nodes.len() > 1 {
        nodes.truncate(1);
        first = program(table, &nodes)?;
        seconds = first.seconds(&gpu.device).await?;
    }
    if seconds > LONG {
        return Ok(Vec::new());
    }
    let mut programs = vec![(0, first)];
    let mut firsts = vec![seconds];
    for (at, draft) in drafts.iter().enumerate().take(question.cuts.len()).skip(1) {
        let wanted = (question.product, question.cuts[at]);
        if let Some((draft, cuts)) = draft
            && nodes.iter().all(|node| cuts.get(node) == Some(&wanted))
        {
            let other = program(draft, &nodes)?;
            firsts.push(other.seconds(&gpu.device).await?);
            programs.push((at, other));
        }
    }
    let fastest = firsts.iter().copied().fold(f64::INFINITY, f64::min);
    let mut samples = vec![Vec::new(); question.cuts.len()];
    for _ in 0..RUNS {
        // In turn, so that what the device does besides, or how warm it is, is the same to all.
        for ((at, program), first) in programs.iter().zip(&firsts) {
            if *at == 0 || *first <= SLOW * fastest {
                samples[*at].push(program.seconds(&gpu.device).await?);
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
fn best(samples: &[Vec<f64>]) -> usize {
    let Some(table) = samples.first().filter(|s| !s.is_empty()) else { return 0 };
    let least = table.iter().copied().fold(f64::INFINITY, f64::min).min((1.0 - MARGIN) * median(table));
    let medians = samples.iter().enumerate().filter(|(_, s)| !s.is_empty()).map(|(at, s)| (at, median(s)));
    let best = medians.min_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, median)| *median < least).map_or(0, |(at, _)| at)
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_graph::lower::Matrices;

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

    #[test]
    fn what_the_estimate_holds_to_be_far_off_is_not_tried() {
        let matrices = Some(Matrices::ALL[0]);
        let caps = Caps { f16: true, matrices, workgroup_bytes: 48 << 10, ..Caps::default() };
        let large = Product::parse("conv2d A_F16 W_F16 16384x1280x11520").unwrap();
        let cuts: Vec<String> = worth_trying(&caps, &large).iter().map(Cut::to_string).collect();
        assert_eq!(cuts[0], "coop 128x128", "the table's comes first: {cuts:?}");
        assert!(cuts.contains(&"coop 128x64".into()) && !cuts.contains(&"plain 64x64".into()), "{cuts:?}");
    }
}
