use crate::device::{Buffer, Device};
use crate::pipelines::{Kernel, Pipelines};
use crate::weights::WeightStore;
use calotype_graph::lower::{Binding, Dispatch, Operand, Recording};
use calotype_graph::ops::StepRow;
use calotype_graph::{Error, Port, ProgramSpec};
use calotype_shaders::Variant;
use std::rc::Rc;

/// A recording with its pipelines compiled and its bindings made.
pub(crate) struct GpuProgram {
    pub launches: Vec<Launch>,
    // Bind groups keep their buffers alive; these keep them on the account.
    _arenas: Vec<Rc<Buffer>>,
    _params: Buffer,
    _ports: Vec<Port>,
}

/// A dispatch, ready to be encoded.
pub(crate) struct Launch {
    /// The graph's node that it belongs to.
    pub node: usize,
    pub variant: &'static Variant,
    /// Operations of the whole node.
    pub flops: u64,
    kernel: Rc<Kernel>,
    bind_group: wgpu::BindGroup,
    params: u32,
    /// Whether the second dynamic offset is the run's row of the step table.
    table: bool,
    groups: [u32; 3],
}

impl Launch {
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>, row: usize) {
        let row = row as u32 * 4 * StepRow::WORDS as u32;
        pass.set_pipeline(&self.kernel.pipeline);
        let offsets = [self.params, row];
        pass.set_bind_group(0, &self.bind_group, &offsets[..if self.table { 2 } else { 1 }]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], self.groups[2]);
    }
}

/// Uniform blocks lie this far apart: what a device may at most ask of dynamic offsets.
pub(crate) const STRIDE: u64 = 256;

/// Work handed to the GPU at a time. Systems reset a GPU that is silent for about two seconds; this is a tenth of
/// a second at half a TFLOP/s.
pub(crate) const FLOPS_A_SUBMIT: u64 = 50_000_000_000;

impl GpuProgram {
    pub fn new(
        device: &Device,
        pipelines: &Pipelines,
        weights: &WeightStore,
        arenas: &[Rc<Buffer>],
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

        let flops: Vec<u64> = spec.graph.nodes().iter().map(|n| n.op.flops(spec.graph)).collect();
        let mut launches = Vec::with_capacity(recording.dispatches.len());
        for (i, d) in recording.dispatches.iter().enumerate() {
            let kernel = pipelines.get(device, d);
            let bind_group = bind(device, &kernel, weights, arenas, spec, &params, d)?;
            launches.push(Launch {
                node: d.node,
                variant: d.variant,
                flops: flops[d.node],
                kernel,
                bind_group,
                params: i as u32 * STRIDE as u32,
                table: d.bindings.iter().any(|b| matches!(b.operand, Operand::Table(_))),
                groups: d.groups,
            });
        }
        let ports = spec.ports.values().cloned().collect();
        Ok(Self { launches, _arenas: arenas.to_vec(), _params: params, _ports: ports })
    }

    /// Encodes and submits every launch.
    pub fn run(&self, device: &Device, row: usize) {
        let mut rest = self.launches.as_slice();
        while !rest.is_empty() {
            let mut flops = 0;
            let count = rest
                .iter()
                .take_while(|l| {
                    let fits = flops == 0 || flops + l.flops <= FLOPS_A_SUBMIT;
                    flops += l.flops;
                    fits
                })
                .count();
            let (now, later) = rest.split_at(count.max(1));
            rest = later;
            let mut encoder = device.raw.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                now.iter().for_each(|l| l.encode(&mut pass, row));
            }
            device.queue.submit([encoder.finish()]);
        }
        device.mark_run();
    }
}

fn bind(
    device: &Device,
    kernel: &Kernel,
    weights: &WeightStore,
    arenas: &[Rc<Buffer>],
    spec: &ProgramSpec<'_>,
    params: &Buffer,
    dispatch: &Dispatch,
) -> Result<wgpu::BindGroup, Error> {
    let mut held: Vec<(Rc<Buffer>, u64, u64)> = Vec::new();
    for binding in &dispatch.bindings {
        held.push(resolve(weights, arenas, spec, binding)?);
    }
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &params.raw,
            offset: 0,
            size: wgpu::BufferSize::new(dispatch.params.len().next_multiple_of(16) as u64),
        }),
    }];
    for (i, (buffer, offset, bytes)) in held.iter().enumerate() {
        // What a kernel sees of an odd number of halves ends with a word of padding.
        let size = bytes.next_multiple_of(16).min(buffer.raw.size() - offset);
        entries.push(wgpu::BindGroupEntry {
            binding: i as u32 + 1,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffer.raw,
                offset: *offset,
                size: wgpu::BufferSize::new(size),
            }),
        });
    }
    Ok(device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&spec.graph.nodes()[dispatch.node].name),
        layout: &kernel.layout,
        entries: &entries,
    }))
}

fn resolve(
    weights: &WeightStore,
    arenas: &[Rc<Buffer>],
    spec: &ProgramSpec<'_>,
    binding: &Binding,
) -> Result<(Rc<Buffer>, u64, u64), Error> {
    let port = |name: &String| -> Result<Rc<Buffer>, Error> {
        let port = spec.ports.get(name);
        let buffer = port.and_then(|p| p.inner.clone().downcast::<Buffer>().ok());
        buffer.ok_or_else(|| Error::Device(format!("{}: no port is bound to {name}", spec.graph.name)))
    };
    Ok(match &binding.operand {
        Operand::Arena(i) => (arenas[*i].clone(), binding.offset, binding.bytes),
        Operand::Port(name) | Operand::Table(name) => (port(name)?, binding.offset, binding.bytes),
        Operand::Weight(id) => {
            let slice = weights.get(spec.graph, *id).ok_or_else(|| {
                let name = spec.graph.weights()[id.index()].name();
                Error::Device(format!("{}: weight {name} was not loaded", spec.graph.name))
            })?;
            (slice.buffer, slice.offset + binding.offset, binding.bytes)
        }
    })
}
