use crate::arenas::{Arenas, User};
use crate::device::{Buffer, Device};
use crate::pipelines::{Kernel, Pipelines};
use crate::stream::Stream;
use crate::weights::WeightStore;
use calotype_graph::lower::{Binding, Dispatch, Operand, Recording};
use calotype_graph::ops::StepRow;
use calotype_graph::{Error, Port, ProgramSpec};
use calotype_shaders::Variant;
use std::cell::Ref;
use std::ops::Range;
use std::rc::Rc;

/// A recording with its pipelines compiled, and its bindings made for the activation buffers that are there.
pub(crate) struct GpuProgram {
    pub launches: Vec<Launch>,
    arenas: Rc<Arenas>,
    user: Rc<User>,
    params: Buffer,
    /// Weights that pass through the device as it runs.
    pub stream: Option<Rc<Stream>>,
    // What is bound keeps its buffers alive; these keep them on the account.
    _ports: Vec<Port>,
}

/// A dispatch, ready to be bound.
pub(crate) struct Launch {
    /// The graph's node that it belongs to.
    pub node: usize,
    pub variant: &'static Variant,
    /// Operations of the whole node.
    pub flops: u64,
    kernel: Rc<Kernel>,
    held: Vec<Held>,
    params: u32,
    params_bytes: u64,
    /// Whether the second dynamic offset is the run's row of the step table.
    table: bool,
    groups: [u32; 3],
}

/// What a binding shows of which buffer.
struct Held {
    place: Place,
    offset: u64,
    bytes: u64,
}

enum Place {
    Arena(usize),
    Own(Rc<Buffer>),
}

impl Launch {
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>, binding: &wgpu::BindGroup, row: usize) {
        let row = row as u32 * 4 * StepRow::WORDS as u32;
        pass.set_pipeline(&self.kernel.pipeline);
        let offsets = [self.params, row];
        pass.set_bind_group(0, binding, &offsets[..if self.table { 2 } else { 1 }]);
        if let Some(watch) = &self.kernel.watch {
            pass.set_bind_group(1, watch, &[]);
        }
        pass.dispatch_workgroups(self.groups[0], self.groups[1], self.groups[2]);
    }

    fn bind(&self, device: &Device, arenas: &Arenas, params: &Buffer) -> wgpu::BindGroup {
        let buffers: Vec<Rc<Buffer>> = self
            .held
            .iter()
            .map(|held| match &held.place {
                Place::Arena(index) => arenas.get(*index),
                Place::Own(buffer) => buffer.clone(),
            })
            .collect();
        let entry = |binding: usize, buffer, offset, size| wgpu::BindGroupEntry {
            binding: binding as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: wgpu::BufferSize::new(size),
            }),
        };
        let mut entries = vec![entry(0, &params.raw, 0, self.params_bytes)];
        for (i, (held, buffer)) in self.held.iter().zip(&buffers).enumerate() {
            // What a kernel sees of an odd number of halves ends with a word of padding.
            let size = held.bytes.next_multiple_of(16).min(buffer.raw.size() - held.offset);
            entries.push(entry(i + 1, &buffer.raw, held.offset, size));
        }
        device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.variant.stem),
            layout: &self.kernel.layout,
            entries: &entries,
        })
    }
}

/// Uniform blocks lie this far apart: what a device may at most ask of dynamic offsets.
pub(crate) const STRIDE: u64 = 256;

/// Work handed to the GPU at a time. Systems reset a GPU that is silent for about two seconds; this is a tenth of
/// a second at half a TFLOP/s.
pub(crate) const FLOPS_A_SUBMIT: u64 = 50_000_000_000;

impl GpuProgram {
    /// `arenas` must have been reserved for the sizes that it `needs`.
    pub fn new(
        device: &Device,
        pipelines: &Pipelines,
        weights: &WeightStore,
        (arenas, needs): (&Rc<Arenas>, &[u64]),
        spec: &ProgramSpec<'_>,
        recording: &Recording,
    ) -> Result<Self, Error> {
        let mut block = vec![0u8; recording.dispatches.len() * STRIDE as usize];
        for (i, d) in recording.dispatches.iter().enumerate() {
            let at = i * STRIDE as usize;
            block[at..at + d.params.len()].copy_from_slice(&d.params);
        }
        let what = format!("parameters of the {}", recording.name);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = device.buffer(&what, block.len() as u64, usage)?;
        device.queue.write_buffer(&params.raw, 0, &block);

        pipelines.prepare(device, &recording.dispatches);
        let flops: Vec<u64> = spec.graph.nodes().iter().map(|n| n.op.flops(spec.graph)).collect();
        let stream = weights.stream(spec.graph);
        let launch = |(i, d): (usize, &Dispatch)| {
            let hold = |b: &Binding| hold(weights, stream.as_deref(), spec, (d.node, b));
            Ok(Launch {
                node: d.node,
                variant: d.variant,
                flops: flops[d.node],
                kernel: pipelines.get(device, d),
                held: d.bindings.iter().map(hold).collect::<Result<_, Error>>()?,
                params: i as u32 * STRIDE as u32,
                params_bytes: d.params.len().next_multiple_of(16) as u64,
                table: d.bindings.iter().any(|b| matches!(b.operand, Operand::Table(_))),
                groups: d.groups,
            })
        };
        let launches = recording.dispatches.iter().enumerate().map(launch).collect::<Result<_, Error>>()?;
        let (arenas, user) = (arenas.clone(), arenas.user(needs.to_vec()));
        let ports = spec.ports.values().cloned().collect();
        let program = Self { launches, arenas, user, params, stream, _ports: ports };
        program.bind(device);
        Ok(program)
    }

    fn bind(&self, device: &Device) {
        let bind = |launch: &Launch| launch.bind(device, &self.arenas, &self.params);
        self.user.bindings.replace(self.launches.iter().map(bind).collect());
    }

    /// Every launch's bindings, made anew where the buffers are others than when it last ran.
    fn bindings(&self, device: &Device) -> Result<Ref<'_, [wgpu::BindGroup]>, Error> {
        if self.user.bindings.borrow().len() < self.launches.len() {
            self.arenas.reserve(device, &[])?;
            self.bind(device);
        }
        Ok(Ref::map(self.user.bindings.borrow(), Vec::as_slice))
    }

    /// Every launch with its bindings.
    pub fn bound(&self, device: &Device) -> Result<Vec<(&Launch, wgpu::BindGroup)>, Error> {
        Ok(self.launches.iter().zip(self.bindings(device)?.iter().cloned()).collect())
    }

    /// Bytes that it holds by itself, or would hold of activations if it were alone.
    pub fn footprint(&self) -> u64 {
        self.params.raw.size() + self.user.needs.iter().map(|need| Buffer::size_for(*need)).sum::<u64>()
    }

    /// Encodes and submits every launch.
    pub fn run(&self, device: &Device, row: usize) -> Result<(), Error> {
        let bindings = self.bindings(device)?;
        let submit = |launches: Range<usize>| self.submit(device, launches, &bindings, row);
        match &self.stream {
            None => _ = submit(0..self.launches.len()),
            Some(stream) => stream.run(device, |nodes| {
                let [from, to] =
                    [nodes.start, nodes.end].map(|end| self.launches.partition_point(|l| l.node < end));
                submit(from..to)
            })?,
        }
        device.mark_run();
        Ok(())
    }

    /// Some launches, no more at a time than a system bears.
    fn submit(
        &self,
        device: &Device,
        launches: Range<usize>,
        bindings: &[wgpu::BindGroup],
        row: usize,
    ) -> Option<wgpu::SubmissionIndex> {
        let (mut launches, mut bindings) = (&self.launches[launches.clone()], &bindings[launches]);
        let mut last = None;
        while !launches.is_empty() {
            let mut flops = 0;
            let count = launches
                .iter()
                .take_while(|l| {
                    let fits = flops == 0 || flops + l.flops <= FLOPS_A_SUBMIT;
                    flops += l.flops;
                    fits
                })
                .count()
                .max(1);
            let mut encoder = device.raw.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let now = launches[..count].iter().zip(bindings);
                now.for_each(|(launch, binding)| launch.encode(&mut pass, binding, row));
            }
            last = Some(device.queue.submit([encoder.finish()]));
            (launches, bindings) = (&launches[count..], &bindings[count..]);
        }
        last
    }
}

fn hold(
    weights: &WeightStore,
    stream: Option<&Stream>,
    spec: &ProgramSpec<'_>,
    (node, binding): (usize, &Binding),
) -> Result<Held, Error> {
    let port = |name: &String| -> Result<Rc<Buffer>, Error> {
        let port = spec.ports.get(name);
        let buffer = port.and_then(|p| p.inner.clone().downcast::<Buffer>().ok());
        buffer.ok_or_else(|| Error::Device(format!("{}: no port is bound to {name}", spec.graph.name)))
    };
    let (place, from) = match &binding.operand {
        Operand::Arena(i) => (Place::Arena(*i), 0),
        Operand::Port(name) | Operand::Table(name) => (Place::Own(port(name)?), 0),
        Operand::Weight(id) => {
            let passing = stream.and_then(|stream| stream.find(node, *id));
            if let Some((slot, offset)) = passing {
                let offset = offset + binding.offset;
                return Ok(Held { place: Place::Own(slot), offset, bytes: binding.bytes });
            }
            let slice = weights.get(spec.graph, *id).ok_or_else(|| {
                let name = spec.graph.weights()[id.index()].name();
                Error::Device(format!("{}: weight {name} was not loaded", spec.graph.name))
            })?;
            (Place::Own(slice.buffer), slice.offset)
        }
    };
    Ok(Held { place, offset: from + binding.offset, bytes: binding.bytes })
}
