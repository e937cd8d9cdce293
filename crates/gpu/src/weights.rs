use crate::device::{Buffer, Device};
use crate::packed::PackedCopy;
use crate::stream::{Slots, Stream};
use calotype_graph::lower::by_columns;
use calotype_graph::{Error, Graph, Layout, Segment, Streamed, Weight, WeightId, pack_each, segments};
use calotype_tensor::{Shape, Tensors};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};

/// Where a weight lies.
#[derive(Clone)]
pub(crate) struct Slice {
    pub buffer: Rc<Buffer>,
    pub offset: u64,
}

/// Weights on the device, by [`Graph::weight_key`]: each uploaded once, many to a buffer.
#[derive(Default)]
pub(crate) struct WeightStore {
    slices: RefCell<HashMap<String, Slice>>,
    /// Where weights lay that are to come anew.
    vacant: RefCell<HashMap<String, Slice>>,
    /// Those of graphs that have no room for all, by the key of the first of them.
    streams: RefCell<HashMap<String, Rc<Stream>>>,
    /// Gone with the last of those.
    slots: RefCell<Weak<Slots>>,
}

/// Bytes handed to the queue before it is made to take them: what bounds host memory while a model loads.
const IN_FLIGHT: u64 = 64 << 20;

impl WeightStore {
    pub fn get(&self, graph: &Graph, id: WeightId) -> Option<Slice> {
        self.slices.borrow().get(&graph.weight_key(id)).cloned()
    }

    pub fn unload(&self, checkpoint: u64, component: &str) {
        let prefix = Graph::weight_prefix(checkpoint, component);
        for slices in [&self.slices, &self.vacant] {
            slices.borrow_mut().retain(|key, _| !key.starts_with(&prefix));
        }
        self.streams.borrow_mut().retain(|key, _| !key.starts_with(&prefix));
    }

    /// What passes through the device as a graph runs.
    pub fn stream(&self, graph: &Graph) -> Option<Rc<Stream>> {
        graph.streamed?;
        self.streams.borrow().get(&stream_key(graph)).cloned()
    }

    /// Forgets weights that are made of tensors that have changed, but for their places.
    pub fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        let mut slices = self.slices.borrow_mut();
        let stale = slices.extract_if(|key, _| Graph::tensors_of(checkpoint, key).any(changed));
        self.vacant.borrow_mut().extend(stale);
        // What passes through is packed anew, all of it.
        let prefix = Graph::weight_prefix(checkpoint, "");
        self.streams.borrow_mut().retain(|key, _| !key.starts_with(&prefix));
    }

    pub async fn load(
        &self,
        device: &Device,
        graph: &Graph,
        source: &dyn Tensors,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let align = device.caps.alignment;
        let passing = self.load_passing(device, graph, source, progress).await?;
        let (missing, bytes): (Vec<(WeightId, Shape)>, Vec<u64>) = graph
            .weight_values()
            .filter(|(id, ..)| !passing.contains(id) && self.get(graph, *id).is_none())
            .map(|(id, shape, bytes)| ((id, shape), bytes))
            .unzip();
        // What was there takes its own place again.
        let has_place = |id| self.vacant.borrow().contains_key(&graph.weight_key(id));
        let bytes = missing.iter().zip(bytes).map(|((id, _), bytes)| if has_place(*id) { 0 } else { bytes });
        let bytes: Vec<u64> = bytes.collect();
        // Buffers are filled in order; one that would grow past the limit is followed by the next.
        let sizes = slabs(bytes.into_iter(), align, device.caps.max_buffer);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let (mut slab, mut offset) = (0, 0);
        let mut buffer: Option<Rc<Buffer>> = None;
        let mut upload = |id: WeightId, mut packed: Vec<u8>| {
            let bytes = packed.len() as u64;
            packed.resize(packed.len().next_multiple_of(4), 0);
            let key = graph.weight_key(id);
            if let Some(slice) = self.vacant.borrow_mut().remove(&key) {
                device.queue.write_buffer(&slice.buffer.raw, slice.offset, &packed);
                self.slices.borrow_mut().insert(key, slice);
                progress(bytes);
                return Ok(());
            }
            if buffer.is_none() || offset + bytes > sizes[slab] {
                slab += usize::from(buffer.is_some());
                let what = format!("weights of the {}", graph.name);
                buffer = Some(Rc::new(device.buffer(&what, sizes[slab], usage)?));
                offset = 0;
            }
            let target = buffer.clone().expect("made above");
            device.queue.write_buffer(&target.raw, offset, &packed);
            self.slices.borrow_mut().insert(key, Slice { buffer: target, offset });
            offset = (offset + bytes).next_multiple_of(align);
            progress(bytes);
            Ok(())
        };
        // The queue is made to take what it was handed every so often: its copies are host memory too.
        let mut copy = copy_of(device, graph, &missing, source);
        for some in in_flight(&missing) {
            packed_each(device, graph, some, source, &mut copy, &mut upload).await?;
            device.queue.submit([]);
            device.wait().await?;
        }
        copy.finish();
        Ok(())
    }

    /// Has those weights of a graph in the host's memory that pass through the device as it runs, and says which.
    async fn load_passing(
        &self,
        device: &Device,
        graph: &Graph,
        source: &dyn Tensors,
        progress: &mut dyn FnMut(u64),
    ) -> Result<HashSet<WeightId>, Error> {
        let Some(streamed) = graph.streamed else { return Ok(HashSet::new()) };
        let segments = segments(graph, streamed, device.caps.alignment);
        let ids = |stays: bool| {
            let of = segments.iter().filter(move |segment| segment.stays == stays);
            of.flat_map(|segment| &segment.weights).map(|(id, _)| *id).collect::<HashSet<_>>()
        };
        let passing = &ids(false) - &ids(true);
        if self.stream(graph).is_some_and(|known| known.segments == segments) {
            return Ok(passing);
        }
        let shapes: HashMap<WeightId, Shape> =
            graph.weight_values().map(|(id, shape, _)| (id, shape)).collect();
        let mut packed = Vec::new();
        let wanted =
            |weights: &[(WeightId, u64)]| weights.iter().map(|(id, _)| (*id, shapes[id])).collect::<Vec<_>>();
        let all =
            segments.iter().filter(|segment| !segment.stays).flat_map(|segment| wanted(&segment.weights));
        let mut copy = copy_of(device, graph, &all.collect::<Vec<_>>(), source);
        for Segment { weights, bytes, stays, .. } in &segments {
            let mut slot = vec![0u8; if *stays { 0 } else { *bytes as usize }];
            let offsets: HashMap<WeightId, u64> = weights.iter().copied().collect();
            let mut keep = |id: WeightId, packed: Vec<u8>| {
                slot[offsets[&id] as usize..][..packed.len()].copy_from_slice(&packed);
                progress(packed.len() as u64);
                Ok(())
            };
            if !stays {
                packed_each(device, graph, &wanted(weights), source, &mut copy, &mut keep).await?;
            }
            packed.push(slot);
        }
        copy.finish();
        let stream = Rc::new(Stream::new(segments, packed, self.slots(device, streamed)?));
        self.streams.borrow_mut().insert(stream_key(graph), stream);
        Ok(passing)
    }

    fn slots(&self, device: &Device, streamed: Streamed) -> Result<Rc<Slots>, Error> {
        let known = self.slots.borrow().upgrade().filter(|slots| slots.bytes() >= streamed.slot);
        if let Some(known) = known {
            return Ok(known);
        }
        let slots = Rc::new(Slots::new(device, streamed.slot)?);
        *self.slots.borrow_mut() = Rc::downgrade(&slots);
        Ok(slots)
    }
}

/// What identifies the weights that pass through the device: a graph's, of its checkpoint and component.
fn stream_key(graph: &Graph) -> String {
    let first = graph.weight_values().next();
    format!("{} in {}", first.map_or_else(String::new, |(id, ..)| graph.weight_key(id)), graph.name)
}

/// What is kept of some weights, or is to be.
fn copy_of(device: &Device, graph: &Graph, wanted: &[(WeightId, Shape)], source: &dyn Tensors) -> PackedCopy {
    device.packed.as_ref().map_or(PackedCopy::None, |files| files.of(&device.caps, graph, wanted, source))
}

/// Gives `each` some weights as the device reads them: out of what is kept, or packed, and then kept.
async fn packed_each(
    device: &Device,
    graph: &Graph,
    wanted: &[(WeightId, Shape)],
    source: &dyn Tensors,
    copy: &mut PackedCopy,
    each: &mut dyn FnMut(WeightId, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = |(id, shape): &(WeightId, Shape)| graph.weights()[id.index()].stored.bytes(shape.numel());
    if let Some(kept) = copy.take(&wanted.iter().map(size).collect::<Vec<_>>()) {
        return wanted.iter().zip(kept).try_for_each(|((id, _), bytes)| each(*id, bytes));
    }
    let shapes: HashMap<WeightId, Shape> = wanted.iter().copied().collect();
    let columns = |weight: &Weight, seen: Shape| by_columns(weight, seen, &device.caps);
    let mut arrange = |id: WeightId, packed: Vec<u8>| {
        let packed = arranged(device, &graph.weights()[id.index()], shapes[&id], packed);
        copy.put(&packed);
        each(id, packed)
    };
    pack_each(graph, wanted, source, false, &columns, &mut arrange).await
}

/// A packed weight in the order in which the device reads it.
fn arranged(device: &Device, weight: &Weight, seen: Shape, packed: Vec<u8>) -> Vec<u8> {
    if device.caps.software { in_panels(weight, seen, packed) } else { packed }
}

/// Where shaders run in software, matrices lie as panels of 32 columns, each from its first row to its last: so
/// `gemm_rows` reads them from start to end. Widths that 32 does not divide stay as they are, and so does what kernels
/// without vectors read. Of blocks the quants are such a matrix, and the scales another.
fn in_panels(weight: &Weight, shape: Shape, packed: Vec<u8>) -> Vec<u8> {
    const PANEL: usize = 32;
    let columns = shape.channels();
    let inner = match weight.layout {
        Layout::Matrix => shape.rows(),
        Layout::Conv { channels, .. } => channels,
        _ => return packed,
    };
    if !inner.is_multiple_of(4) || !columns.is_multiple_of(PANEL) {
        return packed;
    }
    let parts = columns / PANEL;
    match weight.stored.block() {
        [1, size] => panels(&packed, columns * size, parts),
        // A word, four columns wide, has as many rows' quants as fit into it.
        [block, size] => {
            let (quants, scales) = packed.split_at(shape.numel() / block * (size - 2));
            [panels(quants, columns, parts), panels(scales, 2 * columns, parts)].concat()
        }
    }
}

/// Rows of so many bytes, a part of each at a time.
fn panels(rows: &[u8], row: usize, parts: usize) -> Vec<u8> {
    let part = row / parts;
    let mut arranged = Vec::with_capacity(rows.len());
    for panel in (0..row).step_by(part) {
        for from in (panel..rows.len()).step_by(row) {
            arranged.extend_from_slice(&rows[from..from + part]);
        }
    }
    arranged
}

/// `missing` in runs of about [`IN_FLIGHT`] bytes.
fn in_flight(missing: &[(WeightId, Shape)]) -> impl Iterator<Item = &[(WeightId, Shape)]> {
    let mut rest = missing;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |m: &&(WeightId, Shape)| {
            let first = bytes == 0;
            bytes += 2 * m.1.numel() as u64;
            first || bytes <= IN_FLIGHT
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

/// Sizes of the buffers that hold tensors of these sizes, in order.
fn slabs(tensors: impl Iterator<Item = u64>, align: u64, limit: u64) -> Vec<u64> {
    let mut sizes: Vec<u64> = Vec::new();
    for bytes in tensors {
        match sizes.last_mut() {
            Some(last) if last.next_multiple_of(align) + bytes <= limit => {
                *last = last.next_multiple_of(align) + bytes;
            }
            _ => sizes.push(bytes),
        }
    }
    sizes
}
