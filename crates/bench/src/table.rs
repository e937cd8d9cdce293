//! Records for people.

use crate::record::{DeviceInfo, Ops, Record, RunRecord, StageOps};
use crate::stats::Samples;
use calotype::bytes;

/// Rows under a head; the first column to the left, the others to the right.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|h| h.to_string()).collect()])
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    pub fn render(&self, markdown: bool) -> String {
        let width = self.0[0].len();
        if !markdown {
            return columns(&self.0, &(1..width).collect::<Vec<_>>());
        }
        let line = |row: &Vec<String>| format!("| {} |", row.join(" | ").replace('\n', " "));
        let rule = format!("|---|{}", "---:|".repeat(width - 1));
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        lines.insert(1, rule);
        lines.join("\n")
    }
}

/// Rows in columns as wide as they need to be; the columns that `right` names are flush right.
pub fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cell = |(c, text): (usize, &String)| match right.contains(&c) {
            true => format!("{text:>w$}", w = widths[c]),
            false => format!("{text:<w$}", w = widths[c]),
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All of a record but its sweep.
pub fn render(record: &Record, markdown: bool) -> String {
    let program = &record.program;
    let mut parts = vec![format!(
        "calotype {}{} on {}",
        program.version,
        program.commit.as_ref().map(|c| format!(" ({c})")).unwrap_or_default(),
        device(&record.device)
    )];
    if program.profile != "release" {
        parts.push(format!("a {} build: these times say nothing; use cargo's --release", program.profile));
    }
    for run in &record.runs {
        parts.push(heading(run, markdown));
        parts.push(warm(run).render(markdown));
        parts.push(cold(run).render(markdown));
        parts.push(notes(run));
        if let Some(ops) = &run.ops {
            parts.push(ceilings(ops));
            for stage in &ops.stages {
                parts.push(stage_line(stage, run));
                parts.push(ops_table(stage).render(markdown));
            }
        }
    }
    parts.join("\n\n")
}

/// What chose the kernels of a run.
pub fn chosen(run: &RunRecord) -> String {
    match run.tuned {
        0 => "the built-in table".into(),
        products => format!("tuning, for {products} products"),
    }
}

/// The device in a line.
pub fn device(d: &DeviceInfo) -> String {
    let mut text = d.name.clone();
    if d.backend != "cpu" {
        text += &format!(", {}", d.backend);
    }
    if let Some(driver) = &d.driver {
        text += &format!(", driver {driver}");
    }
    if !d.tiers.is_empty() {
        text += &format!(", tiers {}", d.tiers.join(" "));
    }
    text
}

fn heading(run: &RunRecord, markdown: bool) -> String {
    let s = &run.settings;
    let guidance = if s.cfg_scale > 1.0 { format!("guidance {}", s.cfg_scale) } else { "no guidance".into() };
    let text = format!(
        "{}: {}, {}x{}, batch {}, {} steps of {} ({} evaluations), {guidance}, {}",
        run.preset, s.model, s.width, s.height, s.batch_size, s.steps, s.sampler, s.evaluations, s.dtype
    );
    if markdown { format!("### {text}") } else { text }
}

fn warm(run: &RunRecord) -> Table {
    let (w, s) = (&run.warm, &run.settings);
    let mut table = Table::new(&["warm", "median", "least", "most", "spread"]);
    let mut row = |what: &str, samples: &Samples, digits: usize| {
        let number = |x: f64| format!("{x:.digits$}");
        table.row([
            what.to_string(),
            number(samples.median),
            number(samples.min),
            number(samples.max),
            format!("{:.1} %", 100.0 * samples.spread()),
        ]);
    };
    if s.batch_size > 1 {
        row(&format!("{} pictures, s", s.batch_size), &w.batch, 3);
    }
    row("a picture, s", &w.batch.times(1.0 / s.batch_size as f64), 3);
    row("a UNet step, ms", &w.step.times(1e3), 2);
    row("text encoder, ms", &w.text.times(1e3), 2);
    row("VAE, ms", &w.decode.times(1e3), 2);
    if let Some(submit) = &w.submit {
        row("the host's part of a step, ms", &submit.times(1e3), 2);
    }
    table
}

fn cold(run: &RunRecord) -> Table {
    let c = &run.cold;
    let mut table = Table::new(&[
        "first picture, s",
        "total",
        "open",
        "weights",
        "tuning",
        "compile",
        "text",
        "first step",
        "other steps",
        "VAE",
    ]);
    let parts =
        [c.total, c.open, c.weights, c.tuning, c.compile, c.text, c.first_step, c.other_steps, c.decode];
    table.row(
        std::iter::once(String::from("from the program's start")).chain(parts.map(|s| format!("{s:.3}"))),
    );
    table
}

fn notes(run: &RunRecord) -> String {
    let rate = run.plan.unet_flops as f64 / run.warm.step.median;
    let pictures: Vec<&str> = run.pictures.iter().map(|hash| &hash[..hash.len().min(16)]).collect();
    let same = match run.repeatable {
        true => "the same each time",
        false => "NOT the same each time: the device does not compute alike twice",
    };
    let mut facts = vec![
        format!("{:.2} steps a second", 1.0 / run.warm.step.median),
        format!("{} a second", rated(rate, "FLOP")),
    ];
    // The CPU launches nothing.
    let on_gpu = run.warm.submit.is_some();
    facts.extend(on_gpu.then(|| format!("{} launches a step", run.plan.unet_dispatches)));
    facts.extend(on_gpu.then(|| format!("kernels chosen by {}", chosen(run))));
    let (peak, plan) = (bytes(run.peak_bytes), bytes(run.plan.peak_bytes));
    facts.push(format!("peak memory {peak} (planned {plan})"));
    format!("{}\npictures {}…, {same}", facts.join("; "), pictures.join("… "))
}

fn ceilings(ops: &Ops) -> String {
    let c = &ops.ceilings;
    let clock = match ops.clock.as_str() {
        "timestamps" => "the device's own clock",
        "batches" => "the host's clock over repetitions, for there are no timestamps here",
        _ => "the host's clock",
    };
    format!(
        "op by op, by {clock}. The most that was reached here: {}/s in a product {} ({}), {}/s in a copy of {}",
        rated(c.product.per_second, "FLOP"),
        c.product.shape,
        c.product.kernel,
        rated(c.copy.per_second, "B"),
        c.copy.shape
    )
}

fn stage_line(stage: &StageOps, run: &RunRecord) -> String {
    let mut text = format!(
        "{}, {} a batch: {} launches, {:.3} ms one by one; at the ceilings {:.3} ms ({:.0} %)",
        stage.stage,
        if stage.times == 1 { "once".into() } else { format!("{} times", stage.times) },
        stage.dispatches,
        stage.seconds.median * 1e3,
        stage.floor * 1e3,
        100.0 * stage.floor / stage.seconds.median
    );
    if stage.stage == "unet" {
        text += &format!("; in a run a step takes {:.3} ms", run.warm.step.median * 1e3);
    }
    text
}

fn ops_table(stage: &StageOps) -> Table {
    let mut table =
        Table::new(&["op, kernel", "nodes", "launches", "ms", "of stage", "rate", "bound", "of ceiling"]);
    for op in &stage.ops {
        let rate = match op.bound.as_str() {
            "compute" => rated(op.flops_per_second, "FLOP"),
            _ => rated(op.bytes_per_second, "B"),
        };
        table.row([
            format!("{} {}, {}", op.op, op.shapes, op.kernels.join(" + ")),
            op.nodes.to_string(),
            op.dispatches.to_string(),
            format!("{:.3}", op.seconds.median * 1e3),
            format!("{:.1} %", 100.0 * op.seconds.median / stage.seconds.median),
            format!("{rate}/s"),
            op.bound.clone(),
            format!("{:.0} %", 100.0 * op.share),
        ]);
    }
    table
}

/// Such as `34.1 GFLOP`.
pub fn rated(per_second: f64, unit: &str) -> String {
    match per_second {
        r if r >= 1e12 => format!("{:.1} T{unit}", r / 1e12),
        r if r >= 1e9 => format!("{:.1} G{unit}", r / 1e9),
        r => format!("{:.1} M{unit}", r / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "10".into()], vec!["bcd".into(), "9".into()]];
        assert_eq!(columns(&rows, &[1]), "a    10\nbcd   9");
    }

    #[test]
    fn tables_are_text_or_markdown() {
        let mut table = Table::new(&["op", "ms"]);
        table.row(["add".into(), "1.5".into()]);
        assert_eq!(table.render(false), "op    ms\nadd  1.5");
        assert_eq!(table.render(true), "| op | ms |\n|---|---:|\n| add | 1.5 |");
    }

    #[test]
    fn rates_have_the_unit_that_fits() {
        assert_eq!(rated(3.41e10, "FLOP"), "34.1 GFLOP");
        assert_eq!(rated(1.2e13, "B"), "12.0 TB");
    }
}
