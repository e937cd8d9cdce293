//! `calotype bench --sweep`: how a step's cost grows with pixels and with the batch.

use crate::Result;
use crate::record::{Point, Sweep};
use crate::run::{Bench, Watch};
use crate::stats::Samples;
use crate::table::{Table, rated};
use calotype::measure::Ceilings;
use calotype::{Request, Stage, bytes};

/// Seconds that one point is worth, as far as at least two samples allow.
const WORTH: f64 = 20.0;

/// Seconds of steps in one sample, at least.
const SAMPLE: f64 = 0.25;

/// What is swept.
#[derive(Clone, Debug)]
pub struct SweepTask {
    /// The model, as records name it.
    pub model: String,
    /// What is drawn, at any size.
    pub request: Request,
    /// Sides of square pictures, in pixels.
    pub sides: Vec<usize>,
    /// Batches at the smallest side.
    pub batches: Vec<usize>,
    /// Seconds a step may take.
    pub most: f64,
    /// Samples of a point, unless they take too long.
    pub repeats: usize,
}

impl SweepTask {
    /// The sides, and the batches at the smallest of them, each once and in their order.
    fn points(&self) -> Vec<(usize, usize)> {
        let sorted = |of: &[usize]| {
            let mut all = of.to_vec();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (sides, batches) = (sorted(&self.sides), sorted(&self.batches));
        let smallest = sides.first().copied().unwrap_or(0);
        let batches = batches.into_iter().filter(|b| *b != 1).map(|b| (smallest, b));
        sides.into_iter().map(|side| (side, 1)).chain(batches).collect()
    }

    fn at(&self, side: usize, batch_size: usize) -> Request {
        Request { width: Some(side), height: Some(side), batch_size, steps: Some(1), ..self.request.clone() }
    }

    /// The first and smallest request: one picture of the smallest side.
    pub fn smallest(&self) -> Request {
        self.at(self.sides.iter().copied().min().unwrap_or(0), 1)
    }
}

/// Measures every size at batch 1 and every batch at the smallest size.
pub fn sweep(bench: &mut Bench, task: &SweepTask, watch: &mut dyn Watch) -> Result<Sweep> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for (side, batch_size) in task.points() {
        let name = format!("{side}x{side}, batch {batch_size}");
        match point(bench, task, (side, batch_size), found.last(), watch)? {
            Ok(point) => {
                watch.tell(&format!("{name}: {:.4} s a step", point.step.median));
                found.push(point);
            }
            Err(why) => {
                watch.tell(&format!("{name}: left out, {why}"));
                left_out.push(format!("{name}: {why}"));
            }
        }
    }
    let ceilings = bench.pipeline.ceilings()?;
    for point in &mut found {
        point.floor = floor(point, &ceilings);
    }
    Ok(Sweep { model: task.model.clone(), dtype: bench.dtype(), ceilings, points: found, left_out })
}

/// A point, its floor not known yet, or why it is left out. `before` is the one before it.
fn point(
    bench: &mut Bench,
    task: &SweepTask,
    (side, batch_size): (usize, usize),
    before: Option<&Point>,
    watch: &mut dyn Watch,
) -> Result<std::result::Result<Point, String>> {
    let request = &task.at(side, batch_size);
    request.size(bench.pipeline.model())?;
    let plan = match bench.check(request) {
        Ok(plan) => plan,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let unet = plan.stages.iter().find(|s| s.stage == Stage::Step);
    let (flops, weight_bytes) = unet.map_or((0, 0), |s| (s.flops, s.weight_bytes));
    // What the point before took, and what this one has more to do.
    let expected = before.map_or(0.0, |p| p.step.median * flops as f64 / p.flops.max(1) as f64);
    if expected > task.most {
        return Ok(Err(format!(
            "a step would take about {expected:.0} s, and at most {} s are given",
            task.most
        )));
    }
    bench.pipeline.load(request)?;
    let evaluations = bench.evaluations(request)? as f64;
    let first = bench.steps(request, watch)? / evaluations;
    // Steps a sample, and samples.
    let steps = ((SAMPLE / first.max(1e-6)).ceil() as usize).clamp(1, 20);
    let request = Request { steps: Some(steps), ..request.clone() };
    let evaluations = bench.evaluations(&request)? as f64;
    let affordable = (WORTH / (first * evaluations)) as usize;
    let repeats = affordable.clamp(2, task.repeats.max(2));
    let seconds = (0..repeats).map(|_| bench.steps(&request, watch).map(|s| s / evaluations));
    let step = Samples::new(seconds.collect::<Result<_>>()?);
    let planned_bytes = plan.peak_bytes;
    Ok(Ok(Point { side, batch_size, flops, weight_bytes, step, floor: 0.0, planned_bytes }))
}

/// No step is faster than its arithmetic, or than reading the weights once.
fn floor(point: &Point, ceilings: &Ceilings) -> f64 {
    let at = |work: u64, most: f64| if most > 0.0 { work as f64 / most } else { 0.0 };
    at(point.flops, ceilings.product.per_second).max(at(point.weight_bytes, ceilings.copy.per_second))
}

/// The points as a table.
pub fn render(sweep: &Sweep, markdown: bool) -> String {
    let mut table = Table::new(&[
        "pixels, batch",
        "GFLOP",
        "ms a step",
        "spread",
        "floor, ms",
        "of floor",
        "rate",
        "memory",
    ]);
    for p in &sweep.points {
        let of_floor = if p.step.median > 0.0 { 100.0 * p.floor / p.step.median } else { 0.0 };
        table.row([
            format!("{0}x{0}, {1}", p.side, p.batch_size),
            format!("{:.1}", p.flops as f64 / 1e9),
            format!("{:.2}", p.step.median * 1e3),
            format!("{:.1} %", 100.0 * p.step.spread()),
            format!("{:.2}", p.floor * 1e3),
            format!("{of_floor:.0} %"),
            format!("{}/s", rated(p.flops as f64 / p.step.median, "FLOP")),
            bytes(p.planned_bytes),
        ]);
    }
    let mut parts = vec![
        format!(
            "{} at {}: a guided step against pixels and batch. The floor is the step's arithmetic at {}/s (a product \
             {}), or its weights at {}/s (a copy of {}), whichever takes longer; both measured in this run",
            sweep.model,
            sweep.dtype,
            rated(sweep.ceilings.product.per_second, "FLOP"),
            sweep.ceilings.product.shape,
            rated(sweep.ceilings.copy.per_second, "B"),
            sweep.ceilings.copy.shape
        ),
        table.render(markdown),
    ];
    if !sweep.left_out.is_empty() {
        parts.push(format!("left out: {}", sweep.left_out.join("; ")));
    }
    parts.join("\n\n")
}
