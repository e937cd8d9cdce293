//! The autotuner: tries products of the very graphs that will run, with their weights and in buffers like theirs, in each
//! of their likely cuts, and keeps what the device's clock says is fastest.

mod measure;
mod memo;

use crate::adapter::{Choice, Tuning};
use crate::device::Device;
use crate::runner::Runner;
use calotype_graph::lower::{Cut, Product, Tuned, candidates, time};
use calotype_graph::{Caps, Error, Plan, ProgramSpec, Recording, lower, plan};
use measure::{best, measure, median};
use memo::{FastestCut, Findings, Memo};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a start may take for it. Compiling the kernels takes most of that.
const BUDGET: Duration = Duration::from_secs(3);

/// Cuts that are tried of a product, at most: the best by the estimate.
const MOST_CUTS: usize = 8;

/// A cut is not worth trying if by the estimate it takes this many times as long as the best.
const FAR: f64 = 3.0;

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
    /// Operations of one of the nodes.
    node_flops: u64,
}

/// A product's program with one of its cuts.
struct Draft {
    cut: Cut,
    recording: Recording,
    plan: Plan,
}

/// Programs to be prepared, as far as they are tuned, and the bytes that their buffers may take.
struct Programs<'a> {
    specs: &'a [ProgramSpec<'a>],
    caps: Caps,
    plans: Vec<Plan>,
    limit: u64,
}

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
        let known = tuned.len();
        log::info!("{}: the cuts of {known} products are known from earlier starts", device.report.name);
        Some(Self { memo, tuned: RefCell::new(Arc::new(tuned)), left: Cell::new(BUDGET) })
    }

    /// What lowering must know of the device, with the best cuts known.
    pub fn caps(&self, device: &Device) -> Caps {
        Caps { tuned: self.tuned.borrow().clone(), tunes: true, ..device.caps.clone() }
    }

    /// Answers as many questions as there is time for, those of the first programs and the largest products first.
    pub async fn tune(
        &self,
        gpu: &Runner,
        specs: &[ProgramSpec<'_>],
        begins: &dyn Fn(usize),
    ) -> Result<(), Error> {
        let start = Instant::now();
        let caps = self.caps(&gpu.device);
        let questions = questions(specs, &caps);
        if questions.is_empty() || self.left.get().is_zero() {
            return Ok(());
        }
        begins(questions.len());
        let mut programs = Programs::new(specs, caps)?;
        let mut findings = Findings::new();
        for question in &questions {
            if start.elapsed() > self.left.get() {
                break;
            }
            let found = programs.answer(gpu, question).await;
            // What the device was lost over must not be tried at every start.
            let keep = found.as_ref().map_or_else(|_| programs.unanswered(question), FastestCut::clone);
            findings.insert(question.product.to_string(), keep);
            if let Err(e) = found {
                self.keep(&findings);
                return Err(e);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        log::info!("{} of {} products were tuned in {seconds:.1} s", findings.len(), questions.len());
        self.keep(&findings);
        self.tuned.replace(programs.caps.tuned);
        self.left.set(self.left.get().saturating_sub(start.elapsed()));
        // What was dropped is given back before anything takes its place.
        gpu.device.wait().await
    }

    fn keep(&self, findings: &Findings) {
        if let Some(memo) = &self.memo {
            memo.add(findings);
        }
    }
}

/// Products of these programs that there is a choice for and nothing known of; those of the first programs come first, and
/// of a program's the largest.
fn questions(specs: &[ProgramSpec<'_>], caps: &Caps) -> Vec<Question> {
    let mut all: Vec<Question> = Vec::new();
    if caps.only_cut.is_some() {
        return all;
    }
    let mut met: HashSet<Product> = caps.tuned.keys().copied().collect();
    for (at, spec) in specs.iter().enumerate() {
        let first = all.len();
        for (index, node) in spec.graph.nodes().iter().enumerate() {
            let Some(product) = Product::of(spec.graph, node, spec.precision, caps) else { continue };
            if let Some(known) = all[first..].iter_mut().find(|q| q.product == product) {
                known.nodes.push(index);
            } else if met.insert(product) && worth_trying(caps, &product).len() > 1 {
                let node_flops = node.op.flops(spec.graph);
                all.push(Question { product, spec: at, nodes: vec![index], node_flops });
            }
        }
        all[first..].sort_by_key(|q| std::cmp::Reverse(q.node_flops * q.nodes.len() as u64));
    }
    all
}

/// The cuts that may be a product's best, the best by the estimate first.
fn worth_trying(caps: &Caps, product: &Product) -> Vec<Cut> {
    let mut cuts = candidates(caps, product);
    let time = |cut: &Cut| time(caps, product, cut);
    cuts.sort_by(|a, b| time(a).total_cmp(&time(b)));
    let most = FAR * cuts.first().map_or(0.0, time);
    cuts.retain(|cut| time(cut) <= most);
    cuts.truncate(MOST_CUTS);
    cuts
}

impl<'a> Programs<'a> {
    fn new(specs: &'a [ProgramSpec<'a>], caps: Caps) -> Result<Self, Error> {
        let plans = |caps: &Caps| -> Result<Vec<Plan>, Error> {
            specs.iter().map(|s| plan::plan(s.graph, s.precision, caps)).collect()
        };
        let table = Caps { tuned: Arc::default(), ..caps.clone() };
        let (table, plans) = (plans(&table)?, plans(&caps)?);
        let limit = plan::allowance(&plans.iter().collect::<Vec<_>>(), &table.iter().collect::<Vec<_>>());
        Ok(Self { specs, caps, plans, limit })
    }

    /// Measures a product in each of its likely cuts, and has it in the fastest from then on.
    async fn answer(&mut self, gpu: &Runner, question: &Question) -> Result<FastestCut, Error> {
        let product = &question.product;
        let drafts = self.drafts(question);
        let spec = &self.specs[question.spec];
        let samples = measure(gpu, spec, question, &drafts).await.unwrap_or_else(|e| {
            log::warn!("{product}: not tuned: {e}");
            gpu.device.forgive();
            Vec::new()
        });
        gpu.device.check()?; // That the device is lost is not forgiven.
        for (draft, times) in drafts.iter().zip(&samples).filter(|(_, times)| !times.is_empty()) {
            log::debug!("{product}: {} takes {:.1} µs", draft.cut, median(times) * 1e6);
        }
        let at = best(&samples);
        let ratio = if at == 0 { 1.0 } else { median(&samples[at]) / median(&samples[0]) };
        let table = self.table(question);
        let chosen = drafts.get(at).map_or(table, |draft| draft.cut);
        match chosen == table {
            _ if samples.is_empty() => log::info!("{product}: left to the table, with {table}"),
            true => log::info!("{product}: {table}, as in the table"),
            false => log::info!("{product}: {chosen} takes {ratio:.2} of the time of the table's {table}"),
        }
        self.caps = self.with(product, chosen);
        self.plans = self.replanned(product, chosen, &self.caps)?;
        Ok(FastestCut { cut: chosen.to_string(), ratio })
    }

    /// The cut that a product has without tuning.
    fn table(&self, question: &Question) -> Cut {
        self.plans[question.spec].cuts[&question.nodes[0]].1
    }

    /// That it is the table's cut which a product is left with.
    fn unanswered(&self, question: &Question) -> FastestCut {
        FastestCut { cut: self.table(question).to_string(), ratio: 1.0 }
    }

    fn with(&self, product: &Product, cut: Cut) -> Caps {
        let mut tuned = Tuned::clone(&self.caps.tuned);
        tuned.insert(*product, cut);
        Caps { tuned: Arc::new(tuned), ..self.caps.clone() }
    }

    /// The plans with another cut of a product. Only slices of k need scratch, and with it a new plan.
    fn replanned(&self, product: &Product, cut: Cut, caps: &Caps) -> Result<Vec<Plan>, Error> {
        let plan = |(spec, old): (&ProgramSpec<'_>, &Plan)| {
            let mut cuts = old.cuts.values().filter(|(p, _)| p == product).map(|(_, cut)| cut);
            if cuts.any(|old| old.splits.max(cut.splits) > 1) {
                return plan::plan(spec.graph, spec.precision, caps);
            }
            let mut new = old.clone();
            new.cuts.values_mut().filter(|(p, _)| p == product).for_each(|(_, old)| *old = cut);
            Ok(new)
        };
        self.specs.iter().zip(&self.plans).map(plan).collect()
    }

    /// A product's program with each of its likely cuts, the table's first, as far as they keep to the limit: one by one in
    /// the programs that will run, and all together while they are measured.
    fn drafts(&self, question: &Question) -> Vec<Draft> {
        let (product, spec) = (&question.product, &self.specs[question.spec]);
        let table = self.table(question);
        let mut cuts = worth_trying(&self.caps, product);
        cuts.retain(|cut| *cut != table);
        let mut drafts: Vec<Draft> = Vec::new();
        for cut in std::iter::once(table).chain(cuts) {
            let caps = self.with(product, cut);
            // What cannot be planned or lowered is no candidate.
            let Ok(mut plans) = self.replanned(product, cut, &caps) else { continue };
            let run = plan::pool(&plans.iter().collect::<Vec<_>>());
            let plan = plans.swap_remove(question.spec);
            let measured = arenas(drafts.iter().map(|d| &d.plan).chain([&plan]));
            if [run, measured].iter().any(|buffers| buffers.iter().sum::<u64>() > self.limit) {
                continue;
            }
            if let Ok(recording) = lower(spec.graph, &plan, spec.precision, &caps) {
                drafts.push(Draft { cut, recording, plan });
            }
        }
        drafts
    }
}

/// Buffers in which each of several programs can run.
fn arenas<'a>(plans: impl Iterator<Item = &'a Plan>) -> Vec<u64> {
    plan::pool(&plans.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_graph::lower::{Matrices, cut};
    use calotype_graph::ops::Matmul;
    use calotype_graph::{Elem, Graph, Layout, Ports, Precision, Rate};
    use calotype_tensor::{DType, HostTensor, Made, Shape};

    fn nvidia() -> Caps {
        let matrices = Some(Matrices::ALL[0]);
        Caps { f16: true, matrices, workgroup_bytes: 48 << 10, ..Caps::default() }
    }

    #[test]
    fn what_the_estimate_holds_to_be_far_off_is_not_tried() {
        let large = Product::parse("conv2d A_F16 W_N16 16384x1280x11520").unwrap();
        let cuts = worth_trying(&nvidia(), &large);
        assert_eq!(cuts[0], cut(&nvidia(), &large), "the table's comes first");
        let names: Vec<String> = cuts.iter().map(Cut::to_string).collect();
        assert!(names.contains(&"coop 128x64".into()) && !names.contains(&"plain 64x64".into()), "{names:?}");
    }

    /// Products one after another, each wider or narrower than the one before.
    fn chain(rows: usize, widths: &[usize]) -> Graph {
        let mut graph = Graph::new("chain");
        let mut x = graph.input("x", [1, rows, widths[0]], Elem::Float, Rate::Step);
        for pair in widths.windows(2) {
            let name = format!("{}x{}", pair[1], pair[0]);
            let weight = graph.weight(&[&name], [pair[1], pair[0]], Layout::Matrix, [pair[0], pair[1]]);
            x = graph.push(&name, Matmul::new(x, weight, None)).unwrap();
        }
        graph.output("y", x);
        let zeros = |_: &str, shape: Shape| HostTensor::from_f32(shape, &vec![0.0; shape.numel()]);
        let source = Made::new("", graph.declared(DType::F16), zeros);
        graph.resolve(&source, Precision::F16).unwrap();
        graph
    }

    #[test]
    fn whatever_is_chosen_keeps_to_the_memory_that_is_planned_for() {
        // The first needs far more memory than the second, whose slices of k have room in it.
        let graphs = [chain(8192, &[640, 1280, 640]), chain(128, &[1280, 5120, 1280, 2560, 1280, 1280, 640])];
        let ports = Ports::new();
        let spec = |graph| ProgramSpec { graph, ports: &ports, precision: Precision::F16 };
        for specs in [&[spec(&graphs[1])][..], &[spec(&graphs[1]), spec(&graphs[0])]] {
            let questions = questions(specs, &nvidia());
            assert!(questions.len() >= 5);
            let mut programs = Programs::new(specs, nvidia()).unwrap();
            let table: u64 = arenas(programs.plans.iter()).iter().sum();
            let limit = programs.limit;
            assert!(limit >= table && limit <= table + table / 32, "{limit}, {table}");
            for question in &questions {
                let drafts = programs.drafts(question);
                assert_eq!(
                    drafts[0].cut,
                    programs.table(question),
                    "what is tried is held against the table's"
                );
                let buffers = arenas(drafts.iter().map(|d| &d.plan));
                assert!(buffers.iter().sum::<u64>() <= limit);
                for draft in &drafts {
                    let node = question.nodes[0];
                    assert_eq!(
                        draft.plan.cuts[&node],
                        (question.product, draft.cut),
                        "it is what it is called"
                    );
                    let launches = draft.recording.dispatches.iter().filter(|d| d.node == node).count();
                    assert_eq!(launches, if draft.cut.splits > 1 { 2 } else { 1 }, "{}", draft.cut);
                }
                // The hungriest of all.
                let most = drafts.iter().max_by_key(|d| d.cut.splits).unwrap().cut;
                programs.caps = programs.with(&question.product, most);
                programs.plans = programs.replanned(&question.product, most, &programs.caps).unwrap();
            }
            let anew: Vec<Plan> =
                specs.iter().map(|s| plan::plan(s.graph, s.precision, &programs.caps).unwrap()).collect();
            assert!(arenas(anew.iter()).iter().sum::<u64>() <= limit);
            let split = programs.caps.tuned.values().filter(|cut| cut.splits > 1).count();
            assert!(specs.len() == 1 || split > 2, "{:?}", programs.caps.tuned);
        }
    }
}
