use crate::device::{Buffer, Device};
use calotype_graph::{Error, Graph, WeightFetch, WeightId, pack};
use calotype_tensor::{DType, Shape};
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
}

/// Bytes handed to the queue before it is made to take them: what bounds host memory while a model loads.
const IN_FLIGHT: u64 = 64 << 20;

impl WeightStore {
    pub fn get(&self, graph: &Graph, id: WeightId) -> Option<Slice> {
        self.slices.borrow().get(&graph.weight_key(id)).cloned()
    }

    pub async fn load(
        &self,
        device: &Device,
        graph: &Graph,
        source: &dyn WeightFetch,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let align = device.caps.alignment;
        let missing: Vec<(WeightId, Shape, u64)> =
            graph.weight_values().filter(|(id, ..)| self.get(graph, *id).is_none()).collect();
        // Buffers are filled in order; one that would grow past the limit is followed by the next.
        let sizes = slabs(missing.iter().map(|m| m.2), align, device.caps.max_buffer);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let (mut slab, mut offset, mut in_flight) = (0, 0, 0);
        let mut buffer: Option<Rc<Buffer>> = None;
        for (id, shape, bytes) in missing {
            if buffer.is_none() || offset + bytes > sizes[slab] {
                slab += usize::from(buffer.is_some());
                let what = format!("weights of the {}", graph.name);
                buffer = Some(Rc::new(device.buffer(&what, sizes[slab], usage)?));
                offset = 0;
            }
            let weight = &graph.weights()[id.index()];
            let name = &weight.names[0];
            let packed = match &weight.constant {
                Some(constant) => constant.bytes().to_vec(),
                None => {
                    let dtype = source.find(name).map_or(DType::F32, |(d, _)| d);
                    let raw = source.fetch(name).await.map_err(Error::Weight)?;
                    pack(weight, shape, dtype, &raw, &source.file(name))?
                }
            };
            let mut packed = packed;
            packed.resize(packed.len().next_multiple_of(4), 0);
            let target = buffer.clone().expect("made above");
            device.queue.write_buffer(&target.raw, offset, &packed);
            in_flight += packed.len() as u64;
            if in_flight > IN_FLIGHT {
                device.queue.submit([]);
                device.wait().await?;
                in_flight = 0;
            }
            self.slices.borrow_mut().insert(graph.weight_key(id), Slice { buffer: target, offset });
            offset = (offset + bytes).next_multiple_of(align);
            progress(bytes);
        }
        device.queue.submit([]);
        device.wait().await
    }
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
