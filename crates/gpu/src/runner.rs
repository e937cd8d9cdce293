//! A device with what runs on it.

use crate::adapter::AdapterReport;
use crate::arenas::Arenas;
use crate::device::{Buffer, Device};
use crate::pipelines::Pipelines;
use crate::program::GpuProgram;
use crate::weights::WeightStore;
use calotype_graph::{Caps, Error, Graph, Port, ProgramSpec, Recording, lower, plan};
use calotype_tensor::{DType, HostTensor, Shape, Tensors};
use std::rc::Rc;

/// Runs programs, by whatever kernels it is told to.
pub(crate) struct Runner {
    pub device: Device,
    pub pipelines: Pipelines,
    pub weights: WeightStore,
    pub arenas: Rc<Arenas>,
}

impl Runner {
    pub fn new(device: Device) -> Self {
        let (weights, arenas) = (WeightStore::default(), Rc::default());
        Self { pipelines: Pipelines::new(&device), device, weights, arenas }
    }

    /// A recording made ready to run in arenas that were reserved for it.
    pub fn program(
        &self,
        arenas: (&Rc<Arenas>, &[u64]),
        spec: &ProgramSpec<'_>,
        recording: &Recording,
    ) -> Result<GpuProgram, Error> {
        GpuProgram::new(&self.device, &self.pipelines, &self.weights, arenas, spec, recording)
    }

    pub fn report(&self) -> &AdapterReport {
        &self.device.report
    }

    /// See [`Executor::port`](calotype_graph::Executor::port), as for what follows.
    pub fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error> {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let bytes = (shape.numel() * dtype.size()) as u64;
        let buffer = self.device.buffer(name, bytes, usage)?;
        Ok(Port { shape, dtype, inner: Rc::new(buffer) })
    }

    pub fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let buffer = buffer(port)?;
        if bytes.len().is_multiple_of(4) {
            self.device.queue.write_buffer(&buffer.raw, offset, bytes);
        } else {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            self.device.queue.write_buffer(&buffer.raw, offset, &padded);
        }
        self.device.check()
    }

    pub async fn read(&self, port: &Port) -> Result<HostTensor, Error> {
        self.device.check()?;
        let mut bytes = self.device.fetch(&buffer(port)?.raw).await?;
        bytes.truncate(port.shape.numel() * port.dtype.size());
        if let Some(watch) = &self.pipelines.watch {
            watch.check(&self.device).await?;
        }
        Ok(HostTensor::from_bytes(port.shape, port.dtype, bytes))
    }

    pub async fn load(
        &self,
        graph: &Graph,
        source: &dyn Tensors,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        self.weights.load(&self.device, graph, source, progress).await
    }

    pub fn unload(&self, checkpoint: u64, component: &str) {
        self.weights.unload(checkpoint, component);
        self.arenas.trim();
    }

    pub fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        self.weights.expire(checkpoint, changed);
    }

    /// By the kernels that suit `caps`.
    pub fn prepare(&self, specs: &[ProgramSpec<'_>], caps: &Caps) -> Result<Vec<GpuProgram>, Error> {
        let plans =
            specs.iter().map(|s| plan::plan(s.graph, s.precision, caps)).collect::<Result<Vec<_>, _>>()?;
        let needs: Vec<Vec<u64>> = plans.iter().map(|plan| plan.buffers.clone()).collect();
        self.arenas.reserve(&self.device, &needs)?;
        let mut programs = Vec::new();
        for (spec, plan) in specs.iter().zip(&plans) {
            let recording = lower(spec.graph, plan, spec.precision, caps)?;
            programs.push(self.program((&self.arenas, &plan.buffers), spec, &recording)?);
        }
        self.device.check()?;
        self.pipelines.save();
        Ok(programs)
    }

    pub fn run(&self, program: &GpuProgram, row: usize) -> Result<(), Error> {
        program.run(&self.device, row)?;
        self.device.check()
    }
}

fn buffer(port: &Port) -> Result<Rc<Buffer>, Error> {
    port.inner.clone().downcast().map_err(|_| Error::Device("a port of another device was given".into()))
}
