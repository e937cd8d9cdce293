//! `calotype bench --compare`: two records side by side.

use crate::record::{OpRow, Record, RunRecord, Workload};
use crate::stats::{Samples, Verdict};
use crate::table::{Table, chosen, device};
use std::collections::BTreeMap;

/// How many ops that differ are listed, those that matter most first.
const MOST_OPS: usize = 20;

/// What changed from one record to the other.
pub fn compare(before: &Record, after: &Record, markdown: bool) -> String {
    let name = |r: &Record| format!("{} {}", r.program.version, r.program.commit.as_deref().unwrap_or("?"));
    let mut parts = vec![format!(
        "before: {} on {}\nafter:  {} on {}\nratios are after to before; times differ where all of one record's lie \
         beyond all of the other's, by more than 1 %, and there are enough of them (four and four)",
        name(before),
        device(&before.device),
        name(after),
        device(&after.device)
    )];
    let same_device = before.device.name == after.device.name && before.device.driver == after.device.driver;
    let mut missing = Vec::new();
    for old in &before.runs {
        match after.runs.iter().find(|run| run.preset == old.preset) {
            Some(new) => parts.extend(run(old, new, same_device, markdown)),
            None => missing.push(format!("{} is in the first record only", old.preset)),
        }
    }
    let news = after.runs.iter().filter(|new| !before.runs.iter().any(|old| old.preset == new.preset));
    missing.extend(news.map(|new| format!("{} is in the second record only", new.preset)));
    parts.extend((!missing.is_empty()).then(|| missing.join("\n")));
    parts.join("\n\n")
}

fn run(old: &RunRecord, new: &RunRecord, same_device: bool, markdown: bool) -> Vec<String> {
    let mut parts = vec![if markdown { format!("### {}", old.preset) } else { old.preset.clone() }];
    let changed = changed(&old.settings, &new.settings);
    if !changed.is_empty() {
        parts.push(format!("NOT the same work: {}", changed.join(", ")));
    }
    let [before, after] = [old, new].map(chosen);
    if before != after {
        parts.push(format!("kernels chosen by: {before}, before; {after}, after"));
    }
    parts.push(table(old, new).render(markdown));
    parts.push(pictures(old, new, same_device, changed.is_empty()));
    if let (Some(a), Some(b)) = (&old.ops, &new.ops) {
        for stage in &a.stages {
            if let Some(other) = b.stages.iter().find(|s| s.stage == stage.stage) {
                parts.extend(ops(&stage.stage, &stage.ops, &other.ops, markdown));
            }
        }
    }
    parts
}

fn table(old: &RunRecord, new: &RunRecord) -> Table {
    let mut table = Table::new(&["", "before", "after", "ratio", ""]);
    let mut timed = |what: &str, a: &Samples, b: &Samples| {
        let ms = |s: &Samples| format!("{:.2} ± {:.2}", s.median * 1e3, (s.max - s.min) * 500.0);
        table.row([what.into(), ms(a), ms(b), ratio(a.median, b.median), verdict(b.against(a)).into()]);
    };
    let (a, b) = (&old.warm, &new.warm);
    timed("a batch, ms", &a.batch, &b.batch);
    timed("a UNet step, ms", &a.step, &b.step);
    timed("text encoder, ms", &a.text, &b.text);
    timed("VAE, ms", &a.decode, &b.decode);
    if let (Some(a), Some(b)) = (&a.submit, &b.submit) {
        timed("the host's part of a step, ms", a, b);
    }
    let mut once = |what: &str, a: f64, b: f64, why: &str| {
        table.row([what.into(), format!("{a:.2}"), format!("{b:.2}"), ratio(a, b), why.into()]);
    };
    let (a, b) = (&old.cold, &new.cold);
    once("first picture, ms", a.total * 1e3, b.total * 1e3, "measured once");
    once("of that, weights", a.weights * 1e3, b.weights * 1e3, "measured once");
    once("of that, tuning", a.tuning * 1e3, b.tuning * 1e3, "measured once");
    once("of that, compiling", a.compile * 1e3, b.compile * 1e3, "measured once");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (a, b) = (mib(old.peak_bytes), mib(new.peak_bytes));
    let word = if b > 1.001 * a {
        "MORE"
    } else if b < 0.999 * a {
        "less"
    } else {
        "the same"
    };
    once("peak memory, MiB", a, b, word);
    table
}

fn ratio(before: f64, after: f64) -> String {
    if before > 0.0 { format!("{:.3}", after / before) } else { "-".into() }
}

/// Of times: less is better.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Less => "faster",
        Verdict::More => "SLOWER",
        Verdict::Noise => "within noise",
        Verdict::TooFew => "too few repeats to tell",
    }
}

fn pictures(old: &RunRecord, new: &RunRecord, same_device: bool, same_work: bool) -> String {
    match (old.pictures == new.pictures, same_device) {
        (true, _) => "pictures: the same to the bit".into(),
        (false, _) if !same_work => "pictures: others, as they must be".into(),
        (false, true) => {
            "pictures: NOT the same. Kernels that sum in another order change the last bits; anything more \
             is an error: run the conformance tests before you believe these times"
                .into()
        }
        (false, false) => "pictures: not the same to the bit, as is usual on two devices or drivers".into(),
    }
}

/// What differs of two settings, repeats apart.
fn changed(a: &Workload, b: &Workload) -> Vec<String> {
    let fields = |s: &Workload| -> BTreeMap<String, serde_json::Value> {
        let mut value = serde_json::to_value(s).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("repeats");
        }
        value.as_object().cloned().unwrap_or_default().into_iter().collect()
    };
    let (a, b) = (fields(a), fields(b));
    a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, v)| format!("{k} {v} and {}", b[k])).collect()
}

/// Ops of one stage whose times differ beyond noise; none where there are none.
fn ops(stage: &str, old: &[OpRow], new: &[OpRow], markdown: bool) -> Vec<String> {
    // A shape may have got another kernel: shapes alone say what was done.
    let by_shape = |rows: &[OpRow]| -> BTreeMap<(String, String), Vec<OpRow>> {
        let mut all: BTreeMap<_, Vec<OpRow>> = BTreeMap::new();
        rows.iter().for_each(|r| all.entry((r.op.clone(), r.shapes.clone())).or_default().push(r.clone()));
        all
    };
    let (old, new) = (by_shape(old), by_shape(new));
    let total = |rows: &[OpRow]| {
        let most = rows.iter().map(|r| r.seconds.samples.len()).min().unwrap_or(0);
        Samples::new((0..most).map(|i| rows.iter().map(|r| r.seconds.samples[i]).sum()).collect())
    };
    let mut rows = Vec::new();
    let mut unmatched = 0;
    for (shape, a) in &old {
        let Some(b) = new.get(shape) else {
            unmatched += 1;
            continue;
        };
        let (a, b) = (total(a), total(b));
        let told = b.against(&a);
        if matches!(told, Verdict::Less | Verdict::More) {
            rows.push((format!("{} {}", shape.0, shape.1), a.median, b.median, verdict(told)));
        }
    }
    unmatched += new.keys().filter(|shape| !old.contains_key(shape)).count();
    rows.sort_by(|a, b| (b.2 - b.1).abs().total_cmp(&(a.2 - a.1).abs()));
    let mut parts = Vec::new();
    if !rows.is_empty() {
        let mut table =
            Table::new(&[format!("{stage}: ops that differ, ms").as_str(), "before", "after", "ratio", ""]);
        for (op, a, b, word) in rows.iter().take(MOST_OPS) {
            let ms = |s: f64| format!("{:.3}", s * 1e3);
            table.row([op.clone(), ms(*a), ms(*b), ratio(*a, *b), word.to_string()]);
        }
        parts.push(table.render(markdown));
    }
    if unmatched > 0 {
        parts.push(format!("{stage}: {unmatched} distinct ops are in one record only (the graphs differ)"));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_matched_by_shape_and_only_what_differs_is_listed() {
        let row = |op: &str, kernel: &str, seconds: [f64; 4]| OpRow {
            op: op.into(),
            shapes: "4x4".into(),
            kernels: vec![kernel.into()],
            nodes: 1,
            dispatches: 1,
            seconds: Samples::new(seconds.to_vec()),
            flops: 0,
            bytes: 0,
            flops_per_second: 0.0,
            bytes_per_second: 0.0,
            bound: "memory".into(),
            share: 0.0,
        };
        let even = [1.0, 1.1, 1.2, 1.3];
        let old = [row("matmul", "a", even), row("add", "b", even), row("scale", "c", even)];
        let new = [row("matmul", "other", even.map(|s| s / 2.0)), row("add", "b", even)];
        let said = ops("unet", &old, &new, false).join("\n");
        assert!(said.contains("matmul 4x4") && said.contains("faster") && !said.contains("add"), "{said}");
        assert!(said.contains("1 distinct ops are in one record only"), "{said}");
    }
}
