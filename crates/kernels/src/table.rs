//! The table of docs/kernels.md: device by device, kernel by kernel, what was there before and what is now.

use crate::survey::{Counted, Survey};
use std::collections::BTreeMap;

const BEGIN: &str = "<!-- written by scripts/kernels: from here -->";
const END: &str = "<!-- to here -->";
const HEAD: &str = "| kernel | before | waits | cycles | now | waits | cycles | registers | spills |\n\
                    |---|---|---|---|---|---|---|---|---|\n";

/// The kernels that take a picture's time.
const SHOWN: [&str; 5] = ["attention", "conv2d", "group_norm", "layer_norm", "matmul"];

/// How far a count may grow beyond the table's before it is told of: another Mesa counts otherwise.
const MARGIN: f64 = 1.15;

/// Cells of a row, `instructions | waits | cycles`, before and now.
type Cells = BTreeMap<(String, String), [[String; 3]; 2]>;

/// A document with its table written anew, of these records' devices. What it says of before stays, but where `anew` is
/// asked for or there is nothing.
pub fn rewrite(document: &str, records: &[Survey], anew: bool) -> Option<String> {
    let (head, rest) = document.split_once(BEGIN)?;
    let (table, tail) = rest.split_once(END)?;
    let known = cells(table);
    let mut text = String::new();
    for record in records {
        // A kernel of its own has nothing before it, but where nothing has.
        let fresh = anew || !known.keys().any(|(device, _)| *device == record.device);
        let none = || if fresh { None } else { Some(["–", "", ""].map(str::to_string)) };
        text += &format!("\n### {}\n\n{}.\n\n{HEAD}", record.device, record.driver);
        for kernel in shown(record) {
            let now = now(kernel);
            let known = known.get(&(record.device.clone(), kernel.kind.clone())).filter(|_| !anew);
            let before = known.map(|[before, _]| before.clone()).or_else(none).unwrap_or_else(|| now.clone());
            let registers = kernel.registers.map_or(String::new(), |r| r.to_string());
            text += &format!(
                "| {} | {} | {} | {registers} | {} |\n",
                kernel.kind,
                before.join(" | "),
                now.join(" | "),
                kernel.spills
            );
        }
    }
    Some(format!("{head}{BEGIN}\n{text}\n{END}{tail}"))
}

/// What is worth telling of records beside a document's table: spills where the compiler has registers enough, waits that
/// nothing hides, and counts beyond the table's.
pub fn notes(document: &str, records: &[Survey]) -> Vec<String> {
    let table = document.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map_or("", |(t, _)| t);
    let known = cells(table);
    let mut notes = Vec::new();
    for record in records {
        let mut note = |kernel: &Counted, what: String| {
            notes.push(format!("{}: {}: {what}", record.device, kernel.name));
        };
        let roomy = ["radv", "nvk"].iter().any(|driver| record.device.starts_with(driver));
        for kernel in record.kernels.iter().filter(|k| roomy && k.spills > 0.0) {
            note(kernel, format!("{} spills", kernel.spills));
        }
        for kernel in &record.kernels {
            if let Some(l) = kernel.main_loop.as_ref().filter(|l| l.matrices > 0 && l.waits > 0) {
                note(kernel, format!("{} waits between loads and products: {}", l.waits, l.events));
            }
        }
        for kernel in shown(record) {
            let key = (record.device.clone(), kernel.kind.clone());
            let bound = known.get(&key).and_then(|[_, now]| count(&now[0]));
            let found = count(&now(kernel)[0]);
            if let (Some(bound), Some(found)) = (bound, found)
                && found > bound * MARGIN
            {
                note(kernel, format!("{found} instructions, where the table has {bound}"));
            }
        }
    }
    notes
}

/// Of each kind of kernel the one that pictures launch most.
fn shown(record: &Survey) -> Vec<&Counted> {
    let mut kinds: BTreeMap<&str, &Counted> = BTreeMap::new();
    for kernel in record.kernels.iter().filter(|k| SHOWN.iter().any(|stem| k.kind.starts_with(stem))) {
        let most = kinds.entry(&kernel.kind).or_insert(kernel);
        if kernel.launches > most.launches {
            *most = kernel;
        }
    }
    kinds.into_values().collect()
}

fn now(kernel: &Counted) -> [String; 3] {
    let cycles = kernel.cycles.map_or(String::new(), |c| c.to_string());
    match &kernel.main_loop {
        Some(l) if l.matrices > 0 => {
            [format!("{} of {}", l.matrices, l.instructions), l.waits.to_string(), cycles]
        }
        Some(l) => [l.instructions.to_string(), l.waits.to_string(), cycles],
        None => [kernel.instructions.map_or("–".into(), |i| i.to_string()), String::new(), cycles],
    }
}

/// Instructions, of a cell such as `32 of 575`.
fn count(cell: &str) -> Option<f64> {
    cell.rsplit(' ').next()?.parse().ok()
}

fn cells(table: &str) -> Cells {
    let mut found = Cells::new();
    let mut device = String::new();
    for line in table.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            device = name.to_string();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", kernel, a, b, c, d, e, f, _, _, ""] = cells[..] {
            let halves = [[a, b, c], [d, e, f]].map(|half| half.map(str::to_string));
            found.insert((device.clone(), kernel.to_string()), halves);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::Loop;

    fn record(instructions: usize, waits: usize, spills: f64) -> Survey {
        let main_loop = Loop { instructions, matrices: 32, waits, events: "LOAD MMA×32".into() };
        let kernel = Counted {
            name: "matmul BIAS".into(),
            kind: "matmul".into(),
            launches: 3,
            failed: None,
            instructions: Some(900.0),
            cycles: Some(5000.0),
            registers: Some(128.0),
            spills,
            main_loop: Some(main_loop),
        };
        let rare = Counted { name: "matmul".into(), launches: 1, instructions: None, ..kernel.clone() };
        Survey { device: "nvk-one".into(), driver: "NVK 1".into(), kernels: vec![rare, kernel] }
    }

    #[test]
    fn before_stays_while_now_is_written() {
        let empty = format!("words\n{BEGIN}\n{END}\nmore");
        let first = rewrite(&empty, &[record(500, 8, 0.0)], false).unwrap();
        assert!(
            first.contains("| matmul | 32 of 500 | 8 | 5000 | 32 of 500 | 8 | 5000 | 128 | 0 |"),
            "{first}"
        );
        let second = rewrite(&first, &[record(250, 0, 0.0)], false).unwrap();
        assert!(
            second.contains("| matmul | 32 of 500 | 8 | 5000 | 32 of 250 | 0 | 5000 | 128 | 0 |"),
            "{second}"
        );
        assert_eq!(rewrite(&second, &[record(250, 0, 0.0)], false).unwrap(), second);
        let mut other = record(250, 0, 0.0);
        other.kernels[1].kind = "matmul more".into();
        let third = rewrite(&second, &[other], false).unwrap();
        assert!(third.contains("| matmul more | – |  |  | 32 of 250 |"), "{third}");
        let anew = rewrite(&second, &[record(250, 0, 0.0)], true).unwrap();
        assert!(anew.contains("| matmul | 32 of 250 | 0 | 5000 | 32 of 250 |"), "{anew}");
        assert!(second.starts_with("words") && second.ends_with("more"));
        assert_eq!(rewrite("no table", &[], false), None);
    }

    #[test]
    fn what_is_worse_is_told() {
        let document = rewrite(&format!("{BEGIN}{END}"), &[record(250, 0, 0.0)], false).unwrap();
        assert_eq!(notes(&document, &[record(280, 0, 0.0)]), [""; 0], "within the margin");
        let told = notes(&document, &[record(300, 2, 4.0)]);
        let all = told.join("\n");
        assert!(
            all.contains("4 spills") && all.contains("2 waits") && all.contains("300 instructions"),
            "{all}"
        );
    }
}
