//! The memory plan: where each value lies, before anything is allocated.

use crate::caps::Caps;
use crate::cuts::{Cut, Product};
use crate::error::Error;
use crate::graph::Graph;
use crate::launch::{Lower, bytes_of as bytes_in};
use crate::ops::Shapes;
pub use crate::places::{Place, Plan};
use crate::precision::Precision;
use crate::splits::cuts;
use crate::value::ValueId;
use std::collections::HashMap;

/// Something that needs a place while nodes `from..=to` run.
struct Item {
    bytes: u64,
    from: usize,
    to: usize,
    owner: Owner,
    /// The moments behind a value: their first byte, and how many.
    moments: [u64; 2],
    /// Items that must lie in another buffer.
    apart: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Owner {
    Value(ValueId),
    Scratch(usize),
}

/// Plans a graph for a device. Fails where one value is larger than any of its buffers.
pub fn plan(graph: &Graph, precision: Precision, caps: &Caps) -> Result<Plan, Error> {
    let cuts = if caps.host.is_some() { HashMap::new() } else { cuts(graph, precision, caps) };
    let items = items(graph, precision, caps, &cuts)?;
    // Two orders: largest first packs tightest as a rule; by birth sometimes beats it where sizes are alike.
    let mut by_size: Vec<usize> = (0..items.len()).collect();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(items[i].bytes), items[i].from));
    let mut by_weight = by_size.clone();
    by_weight.sort_by_key(|&i| {
        std::cmp::Reverse(u128::from(items[i].bytes) * (items[i].to - items[i].from + 1) as u128)
    });
    let plans = [by_size, by_weight].map(|order| place(&items, &order, caps));
    let [a, b] = plans;
    let plan = if b.bytes() < a.bytes() { b } else { a };
    Ok(Plan { cuts, ..plan })
}

fn items(
    graph: &Graph,
    precision: Precision,
    caps: &Caps,
    cuts: &HashMap<usize, (Product, Cut)>,
) -> Result<Vec<Item>, Error> {
    let outputs: Vec<ValueId> = graph.outputs().iter().map(|(_, v)| *v).collect();
    let mut items: Vec<Item> = Vec::new();
    let mut item_of: HashMap<ValueId, usize> = HashMap::new();
    for (at, node) in graph.nodes().iter().enumerate() {
        let reads: Vec<usize> =
            node.op.operands().iter().filter_map(|v| item_of.get(&graph.root(*v)).copied()).collect();
        for &r in &reads {
            items[r].to = at;
        }
        let mut apart = if caps.host.is_some() { Vec::new() } else { reads };
        let mut add =
            |bytes: u64, moments: [u64; 2], owner: Owner, apart: &mut Vec<usize>| -> Result<(), Error> {
                if bytes > caps.max_buffer {
                    let node = format!("{}: {}", graph.name, node.name);
                    return Err(Error::BufferLimit { node, needed: bytes, limit: caps.max_buffer });
                }
                let bytes = bytes.next_multiple_of(if caps.host.is_some() { LINE } else { caps.alignment });
                let index = items.len();
                for &other in apart.iter() {
                    items[other].apart.push(index);
                }
                items.push(Item { bytes, from: at, to: at, owner, moments, apart: apart.clone() });
                if caps.host.is_none() {
                    apart.push(index);
                }
                Ok(())
            };
        let scratch = match (caps.host, cuts.get(&at)) {
            (Some(host), _) => (host.scratch)(&node.op, graph).into_iter().map(words).collect(),
            (None, Some((product, cut))) => cut.scratch(product).into_iter().collect(),
            (None, None) => node.op.scratch(graph.shape(node.output)),
        };
        for bytes in scratch {
            add(bytes, [0; 2], Owner::Scratch(at), &mut apart)?;
        }
        if caps.host.is_some() {
            add(words(graph.shape(node.output).numel()), [0; 2], Owner::Value(node.output), &mut apart)?;
            item_of.insert(node.output, items.len() - 1);
            continue;
        }
        let own = bytes_of(graph, node.output, precision);
        let (bytes, moments) = match node.op.moments(graph.shape(node.output)) {
            0 => (own, [0; 2]),
            moments => {
                let from = own.next_multiple_of(caps.alignment);
                (from + moments, [from, moments])
            }
        };
        if bytes > 0 && !outputs.contains(&node.output) {
            add(bytes, moments, Owner::Value(node.output), &mut apart)?;
            item_of.insert(node.output, items.len() - 1);
        }
    }
    if caps.host.is_some() {
        let last = graph.nodes().len();
        outputs.iter().filter_map(|v| item_of.get(&graph.root(*v))).for_each(|&item| items[item].to = last);
    }
    Ok(items)
}

/// What values of the host begin at multiples of: a line of a processor's cache.
const LINE: u64 = 64;

/// Bytes of f32 values.
fn words(count: usize) -> u64 {
    (count as u64).saturating_mul(4)
}

/// Bytes a value takes in storage.
pub fn bytes_of(graph: &Graph, value: ValueId, precision: Precision) -> u64 {
    bytes_in(graph.value(value), graph.weights(), precision)
}

/// Gives each item, in `order`, the lowest free place of the buffer that grows least by it.
fn place(items: &[Item], order: &[usize], caps: &Caps) -> Plan {
    let (most, max_buffer) = if caps.host.is_some() { (1, u64::MAX) } else { (3, caps.max_buffer) };
    let mut sizes: Vec<u64> = Vec::new();
    let mut placed: Vec<Option<Place>> = vec![None; items.len()];
    let mut inside: Vec<Vec<usize>> = Vec::new();
    for &i in order {
        let item = &items[i];
        let mut best: Option<(u64, u64, Place)> = None;
        for (b, members) in inside.iter().enumerate() {
            if item.apart.iter().any(|&o| placed[o].is_some_and(|p| p.buffer == b)) {
                continue;
            }
            // What lives at the same time, lowest first; the first gap that is wide enough is taken.
            let mut busy: Vec<(u64, u64)> = members
                .iter()
                .filter(|&&m| items[m].from <= item.to && item.from <= items[m].to)
                .filter_map(|&m| placed[m].map(|p| (p.offset, p.offset + p.bytes)))
                .collect();
            busy.sort_unstable();
            let mut offset = 0;
            for (start, end) in busy {
                if offset + item.bytes <= start {
                    break;
                }
                offset = offset.max(end);
            }
            let end = offset + item.bytes;
            if end > max_buffer {
                continue;
            }
            let growth = end.saturating_sub(sizes[b]);
            let candidate = (growth, end, Place { buffer: b, offset, bytes: item.bytes });
            if best.is_none_or(|(g, e, _)| (growth, end) < (g, e)) {
                best = Some(candidate);
            }
        }
        // A fourth buffer costs as much as it holds, so growing an old one by less is better.
        let fresh = best.is_none_or(|(growth, ..)| growth >= item.bytes && sizes.len() < most);
        let place = match best {
            Some((_, _, place)) if !fresh => place,
            _ => {
                sizes.push(0);
                inside.push(Vec::new());
                Place { buffer: sizes.len() - 1, offset: 0, bytes: item.bytes }
            }
        };
        sizes[place.buffer] = sizes[place.buffer].max(place.offset + place.bytes);
        inside[place.buffer].push(i);
        placed[i] = Some(place);
    }
    // Largest first, so that programs which share a pool of buffers share it well.
    let mut rank: Vec<usize> = (0..sizes.len()).collect();
    rank.sort_by_key(|&b| std::cmp::Reverse(sizes[b]));
    let mut new_index = vec![0; sizes.len()];
    for (new, &old) in rank.iter().enumerate() {
        new_index[old] = new;
    }
    let mut plan = Plan { buffers: rank.iter().map(|&b| sizes[b]).collect(), ..Plan::default() };
    for (item, place) in items.iter().zip(placed) {
        let mut place = place.expect("every item was placed");
        place.buffer = new_index[place.buffer];
        match item.owner {
            Owner::Value(v) => {
                plan.places.insert(v, place);
                let [from, bytes] = item.moments;
                if bytes > 0 {
                    plan.moments.insert(v, Place { offset: place.offset + from, bytes, ..place });
                }
            }
            Owner::Scratch(node) => plan.scratch.entry(node).or_default().push(place),
        }
    }
    plan
}

/// The buffers that serve several plans in turn: each as large as the largest that any plan wants in its place.
pub fn pool(plans: &[&Plan]) -> Vec<u64> {
    let count = plans.iter().map(|p| p.buffers.len()).max().unwrap_or(0);
    (0..count).map(|i| plans.iter().filter_map(|p| p.buffers.get(i)).copied().max().unwrap_or(0)).collect()
}

/// Bytes that the buffers of several plans may come to where tuning may yet choose other cuts: what they take as they are,
/// or a 32nd more than with the cuts of the `table`, since slices of k need scratch.
pub fn allowance(plans: &[&Plan], table: &[&Plan]) -> u64 {
    let bytes = |plans| pool(plans).iter().sum::<u64>();
    bytes(plans).max(bytes(table) + bytes(table) / 32)
}
