//! What is in a kernel's main loop, out of a driver's assembly: NVK's (`NAK assembly`) and RADV's (ACO's).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A loop's contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Instructions, all of them.
    pub instructions: usize,
    /// Operations on matrices.
    pub matrices: usize,
    /// Waits for memory that nothing hides: with no operation on matrices since the load before.
    pub waits: usize,
    /// What happens, in order: LOAD from memory, WAIT for one, st to workgroup memory, MMA, br, BARRIER.
    pub events: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Event {
    Load,
    /// Until so many of the loads so far, the last ones, may still be on their way.
    Wait {
        pending: usize,
    },
    Store,
    Matrices,
    Branch,
    Barrier,
}

/// The loop with most operations on matrices, else the longest. None where the text is neither compiler's, or there is
/// no loop.
pub fn main_loop(title: &str, text: &str) -> Option<Loop> {
    let loops = match title {
        "NAK assembly" => nak(text),
        "Assembly" => aco(text),
        _ => return None,
    };
    let matrices = |lines: &Vec<&str>| lines.iter().filter(|l| is_matrices(operation(l))).count();
    // Of loops around each other the inner one.
    let best = loops.iter().max_by_key(|l| match matrices(l) {
        0 => (0, l.len() as isize),
        many => (many, -(l.len() as isize)),
    })?;
    let events = events(best);
    let (mut waits, mut loads) = (0, 0);
    for event in &events {
        match event {
            Event::Load => loads += 1,
            Event::Matrices => loads = 0,
            Event::Wait { pending } if loads > *pending => waits += 1,
            _ => {}
        }
    }
    Some(Loop { instructions: best.len(), matrices: matrices(best), waits, events: told(&events) })
}

fn is_matrices(operation: &str) -> bool {
    ["hmma", "imma", "v_wmma", "v_mfma"].iter().any(|m| operation.starts_with(m))
}

/// An instruction's name: NVK's stands behind what it yields and its predicate.
fn operation(line: &str) -> &str {
    let code = line.split("//").next().unwrap_or_default();
    let code = code.rsplit(" = ").next().unwrap_or_default();
    code.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default()
}

/// Loops of NVK's assembly: blocks `block 3 L4 [1, 2] -> {`, each with those before it.
fn nak(text: &str) -> Vec<Vec<&str>> {
    let mut blocks: BTreeMap<usize, (Vec<usize>, Vec<&str>)> = BTreeMap::new();
    let mut open = None;
    for line in text.lines() {
        if line.starts_with("block") {
            let number = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
            let before = line.split(['[', ']']).nth(1).unwrap_or_default();
            let before = before.split(',').filter_map(|p| p.trim().parse().ok()).collect();
            open = number;
            number.map(|n: usize| blocks.insert(n, (before, Vec::new())));
        } else if line.starts_with('}') {
            open = None;
        } else if let Some(block) = open.filter(|_| !line.trim().is_empty()) {
            blocks.entry(block).and_modify(|(_, lines)| lines.push(line));
        }
    }
    let mut loops = Vec::new();
    for (&head, (before, _)) in &blocks {
        let mut back: Vec<usize> = before.iter().copied().filter(|p| *p >= head).collect();
        if back.is_empty() {
            continue;
        }
        let mut body = HashSet::from([head]);
        while let Some(block) = back.pop() {
            if body.insert(block) {
                back.extend(blocks.get(&block).map(|(before, _)| before.as_slice()).unwrap_or_default());
            }
        }
        let within = blocks.iter().filter(|(number, _)| body.contains(number));
        loops.push(within.flat_map(|(_, (_, lines))| lines.iter().copied()).collect());
    }
    loops
}

/// Loops of ACO's assembly: from a label to the last branch back to it.
fn aco(text: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<&str> = Vec::new();
    let mut labels: HashMap<&str, usize> = HashMap::new();
    let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':').filter(|l| l.starts_with("BB")) {
            labels.insert(label, lines.len());
        } else if !code.is_empty() {
            let mut words = code.split_whitespace();
            let jumps = words.next().is_some_and(|w| w.starts_with("s_branch") || w.starts_with("s_cbranch"));
            if let Some(start) = words.next().filter(|_| jumps).and_then(|to| labels.get(to)) {
                ends.insert(*start, lines.len() + 1);
            }
            lines.push(code);
        }
    }
    ends.into_iter().map(|(start, end)| lines[start..end].to_vec()).collect()
}

fn events(lines: &[&str]) -> Vec<Event> {
    let mut events = Vec::new();
    // NVK's scoreboards that a load will release.
    let mut pending = HashMap::new();
    for line in lines {
        let operation = operation(line);
        let field = |name: &str| {
            line.split_whitespace().find_map(|word| word.trim_end_matches(',').strip_prefix(name))
        };
        for (bit, _) in field("wt=").unwrap_or_default().bytes().rev().enumerate().filter(|(_, b)| *b == b'1')
        {
            if pending.insert(bit, false) == Some(true) {
                events.push(Event::Wait { pending: 0 });
            }
        }
        let load = ["ld.global", "buffer_load", "global_load"].iter().any(|l| operation.starts_with(l));
        if let Some(bit) = field("wr:").and_then(|bit| bit.parse().ok()) {
            pending.insert(bit, load);
        }
        let vector = operation == "s_wait_loadcnt" || operation == "s_waitcnt" && line.contains("vmcnt");
        events.extend(match operation {
            _ if load => Some(Event::Load),
            _ if vector => Some(Event::Wait { pending: pending_loads(line) }),
            op if is_matrices(op) => Some(Event::Matrices),
            op if op.starts_with("st.shared") || op.starts_with("ds_store") => Some(Event::Store),
            op if op.starts_with("bar.sync") => Some(Event::Barrier),
            op if op.starts_with("s_barrier") && !op.contains("signal") => Some(Event::Barrier),
            op if op == "bra" || op.contains("cbranch") => Some(Event::Branch),
            _ => None,
        });
    }
    events
}

/// How many loads RADV's `s_waitcnt vmcnt(3)` or `s_wait_loadcnt 0x3` leaves on their way.
fn pending_loads(line: &str) -> usize {
    let number = match line.split_once("vmcnt(") {
        Some((_, rest)) => rest.split(')').next(),
        None => line.split_whitespace().nth(1),
    };
    let number = number.unwrap_or_default();
    number
        .strip_prefix("0x")
        .map_or(number.parse().ok(), |hex| usize::from_str_radix(hex, 16).ok())
        .unwrap_or(0)
}

/// Events as words, with how many of a kind follow each other.
fn told(events: &[Event]) -> String {
    let runs = events.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)).map(|run| {
        let word = match run[0] {
            Event::Load => "LOAD",
            Event::Wait { .. } => "WAIT",
            Event::Store => "st",
            Event::Matrices => "MMA",
            Event::Branch => "br",
            Event::Barrier => "BARRIER",
        };
        if run.len() > 1 { format!("{word}×{}", run.len()) } else { word.into() }
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACO: &str = "\
BB0:
\ts_mov_b32 s0, 0 ; be800080
BB1:
\ts_barrier
\tbuffer_load_b64 v[0:1], v4, s[4:7], 0 offen
\ts_waitcnt vmcnt(0)
\tbuffer_load_b64 v[2:3], v5, s[4:7], 0 offen
\tv_wmma_f32_16x16x16_f16 v[8:15], v[0:7], v[0:7], v[8:15]
\tv_wmma_f32_16x16x16_f16 v[8:15], v[0:7], v[0:7], v[8:15]
\ts_waitcnt vmcnt(0)
\ts_cbranch_scc1 BB1 ; bfa2fff0
BB2:
\tv_mov_b32 v0, 0
\ts_cbranch_scc1 BB2
\ts_endpgm
";

    #[test]
    fn of_radv_the_loop_of_matrices_is_found() {
        let found = main_loop("Assembly", ACO).unwrap();
        assert_eq!((found.instructions, found.matrices, found.waits), (8, 2, 1));
        assert_eq!(found.events, "BARRIER LOAD WAIT LOAD MMA×2 WAIT br");
        let older = ACO.replacen("vmcnt(0)", "vmcnt(1)", 1);
        assert_eq!(main_loop("Assembly", &older).unwrap().waits, 0, "a wait for what was loaded before");
        assert_eq!([pending_loads("s_wait_loadcnt 0xa"), pending_loads("s_waitcnt vmcnt(7)")], [10, 7]);
        assert_eq!(main_loop("NIR Shader(s)", ACO), None);
        assert_eq!(main_loop("Assembly", "\ts_endpgm\n"), None);
    }

    const NAK: &str = "\
block 0 L0 [] -> {
    r0 = mov 0x0 // delay=1
} -> [1]
block 1 L1 [0, 2] -> {
    @p0 bra L9 // delay=5
    r1..3 = ld.global.a64.b64 [r4..6] // delay=2 wr:0
    r3..5 = ld.global.a64.b64 [r4..6] // delay=2 wr:1
} -> [2]
block 2 L2 [1] -> {
    st.shared.b64 [r9] r1..3 // delay=1 wt=000001
    r8..12 = hmma.m16n8k16.f32 r1..3 r3 r8..12 // delay=9
    bar.sync // wt=000010 delay=4
    bra L1 // delay=5
} -> [1]
block 3 L3 [2] -> {
    exit
} -> []
";

    #[test]
    fn of_nvk_too_with_its_scoreboards() {
        let found = main_loop("NAK assembly", NAK).unwrap();
        assert_eq!((found.instructions, found.matrices, found.waits), (7, 1, 1));
        assert_eq!(found.events, "br LOAD×2 WAIT st MMA WAIT BARRIER br");
    }
}
