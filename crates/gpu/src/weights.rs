use crate::device::{Buffer, Device};
use calotype_graph::lower::by_columns;
use calotype_graph::{Error, Graph, Layout, Weight, WeightId, pack_each};
use calotype_tensor::{Shape, Tensors};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

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
    }

    /// Forgets weights that are made of tensors that have changed, but for their places.
    pub fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        let mut slices = self.slices.borrow_mut();
        let stale = slices.extract_if(|key, _| Graph::tensors_of(checkpoint, key).any(changed));
        self.vacant.borrow_mut().extend(stale);
    }

    pub async fn load(
        &self,
        device: &Device,
        graph: &Graph,
        source: &dyn Tensors,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let align = device.caps.alignment;
        let (missing, bytes): (Vec<(WeightId, Shape)>, Vec<u64>) = graph
            .weight_values()
            .filter(|(id, ..)| self.get(graph, *id).is_none())
            .map(|(id, shape, bytes)| ((id, shape), bytes))
            .unzip();
        // What was there takes its own place again.
        let bytes: Vec<u64> = missing
            .iter()
            .zip(bytes)
            .map(
                |((id, _), bytes)| {
                    if self.vacant.borrow().contains_key(&graph.weight_key(*id)) { 0 } else { bytes }
                },
            )
            .collect();
        // Buffers are filled in order; one that would grow past the limit is followed by the next.
        let sizes = slabs(bytes.into_iter(), align, device.caps.max_buffer);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let (mut slab, mut offset) = (0, 0);
        let mut buffer: Option<Rc<Buffer>> = None;
        let shapes: HashMap<WeightId, Shape> = missing.iter().copied().collect();
        let mut upload = |id: WeightId, mut packed: Vec<u8>| {
            if device.caps.software {
                packed = in_panels(&graph.weights()[id.index()], shapes[&id], packed);
            }
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
        for some in in_flight(&missing) {
            let columns = |weight: &Weight, seen: Shape| by_columns(weight, seen, &device.caps);
            pack_each(graph, some, source, false, &columns, &mut upload).await?;
            device.queue.submit([]);
            device.wait().await?;
        }
        Ok(())
    }
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
