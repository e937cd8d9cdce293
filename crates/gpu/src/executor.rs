use crate::adapter::{AdapterReport, Choice};
use crate::arenas::Arenas;
use crate::device::{Buffer, Device};
use crate::pipelines::Pipelines;
use crate::program::GpuProgram;
use crate::signal::Signal;
use crate::tiers::{Offer, settle};
use crate::weights::WeightStore;
use calotype_graph::lower::Tier;
use calotype_graph::{
    Caps, Error, Executor, Graph, LocalFuture, MemoryUse, Port, Profile, Program, ProgramSpec, Recording,
    Room, lower, plan,
};
use calotype_tensor::{DType, HostTensor, Shape, Tensors};
use std::rc::Rc;

/// A GPU.
pub struct GpuExecutor {
    pub(crate) device: Device,
    pub(crate) pipelines: Pipelines,
    pub(crate) weights: WeightStore,
    pub(crate) arenas: Rc<Arenas>,
    #[cfg(not(target_arch = "wasm32"))]
    tuner: Option<crate::tuning::Tuner>,
}

impl GpuExecutor {
    /// Opens the GPU that `choice` means, and tries which kernels it can be trusted with.
    pub async fn new(choice: &Choice) -> Result<Self, crate::Error> {
        let device = Device::open(choice).await?;
        let mut gpu = Self::bare(device);
        let tiers = settle(&mut gpu, choice).await?;
        if gpu.device.check().is_err() && choice.tier.is_none() {
            // A driver that falls over one tier may still be good for those below it.
            let held = tiers.iter().filter(|t| t.used).map(|t| t.tier).max();
            let lower = Choice { tier: Some(held.unwrap_or(Tier::Plain)), ..choice.clone() };
            let device = Device::open(&lower).await?;
            gpu = Self::bare(device);
            settle(&mut gpu, &lower).await?;
        }
        gpu.device.report.tiers = tiers;
        gpu.device.caps.only_cut = choice.only_cut;
        #[cfg(not(target_arch = "wasm32"))]
        {
            gpu.tuner = crate::tuning::Tuner::open(&gpu.device, choice);
        }
        gpu.device.begin();
        gpu.pipelines.save();
        Ok(gpu)
    }

    fn bare(device: Device) -> Self {
        Self {
            pipelines: Pipelines::new(&device),
            device,
            weights: WeightStore::default(),
            arenas: Rc::default(),
            #[cfg(not(target_arch = "wasm32"))]
            tuner: None,
        }
    }

    /// A recording made ready to run in arenas that were reserved for it.
    pub(crate) fn program(
        &self,
        arenas: (&Rc<Arenas>, &[u64]),
        spec: &ProgramSpec<'_>,
        recording: &Recording,
    ) -> Result<GpuProgram, Error> {
        GpuProgram::new(&self.device, &self.pipelines, &self.weights, arenas, spec, recording)
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.device.offer
    }

    pub(crate) fn is_checked(&self) -> bool {
        self.device.checked
    }

    pub(crate) fn set_caps(&mut self, caps: Caps) {
        self.device.caps = caps;
    }

    pub(crate) fn forgive(&self) {
        self.device.forgive();
    }

    /// The adapter's features and limits.
    pub fn report(&self) -> &AdapterReport {
        &self.device.report
    }

    /// Gives the device back at once. Whatever is asked of it later fails as it would on a device that was lost.
    pub fn destroy(&self) {
        self.device.raw.destroy();
    }
}

fn buffer(port: &Port) -> Result<Rc<Buffer>, Error> {
    port.inner.clone().downcast().map_err(|_| Error::Device("a port of another device was given".into()))
}

fn compiled(program: &Program) -> Result<&GpuProgram, Error> {
    let foreign = || Error::Device("a program of another device was given".into());
    program.0.downcast_ref().ok_or_else(foreign)
}

impl Executor for GpuExecutor {
    fn describe(&self) -> String {
        let r = &self.device.report;
        format!("{} ({})", r.name, r.backend)
    }

    fn caps(&self) -> Caps {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(tuner) = &self.tuner {
            return Caps { tuned: tuner.known(), tunes: true, ..self.device.caps.clone() };
        }
        self.device.caps.clone()
    }

    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error> {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let bytes = (shape.numel() * dtype.size()) as u64;
        let buffer = self.device.buffer(name, bytes, usage)?;
        Ok(Port { shape, dtype, inner: Rc::new(buffer) })
    }

    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error> {
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

    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>> {
        Box::pin(async move {
            self.device.check()?;
            let from = buffer(port)?;
            let size = from.raw.size();
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            let staging = self.device.buffer("readback", size, usage)?;
            let mut encoder = self.device.raw.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&from.raw, 0, &staging.raw, 0, size);
            self.device.queue.submit([encoder.finish()]);
            let signal = Signal::new();
            let done = signal.clone();
            staging.raw.slice(..).map_async(wgpu::MapMode::Read, move |r| done.send(r));
            self.device.wait().await?;
            signal.await.map_err(|e| Error::Device(format!("the GPU's memory could not be read: {e}")))?;
            let bytes = {
                let view = staging.raw.slice(..).get_mapped_range();
                let view =
                    view.map_err(|e| Error::Device(format!("the GPU's memory could not be read: {e}")))?;
                view[..port.shape.numel() * port.dtype.size()].to_vec()
            };
            staging.raw.unmap();
            Ok(HostTensor::from_bytes(port.shape, port.dtype, bytes))
        })
    }

    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn Tensors,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.weights.load(&self.device, graph, source, progress))
    }

    fn unload(&self, checkpoint: u64, component: &str) {
        self.weights.unload(checkpoint, component);
        self.arenas.trim();
    }

    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error> {
        let caps = self.caps();
        let plans =
            specs.iter().map(|s| plan::plan(s.graph, s.precision, &caps)).collect::<Result<Vec<_>, _>>()?;
        let needs: Vec<Vec<u64>> = plans.iter().map(|plan| plan.buffers.clone()).collect();
        self.arenas.reserve(&self.device, &needs)?;
        let mut programs = Vec::new();
        for (spec, plan) in specs.iter().zip(&plans) {
            let recording = lower(spec.graph, plan, spec.precision, &caps)?;
            programs.push(Program(Rc::new(self.program((&self.arenas, &plan.buffers), spec, &recording)?)));
        }
        self.device.check()?;
        self.pipelines.save();
        Ok(programs)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn tune<'a>(
        &'a self,
        specs: &'a [ProgramSpec<'a>],
        begins: &'a dyn Fn(usize),
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let Some(tuner) = &self.tuner else { return Ok(()) };
            // What is tried has buffers of its own, in the place of those that are planned for.
            self.arenas.release();
            tuner.tune(self, specs, begins).await
        })
    }

    fn footprint(&self, program: &Program) -> u64 {
        compiled(program).map_or(0, GpuProgram::footprint)
    }

    fn run(&self, program: &Program, row: usize) -> Result<(), Error> {
        compiled(program)?.run(&self.device, row)?;
        self.device.check()
    }

    fn profile<'a>(&'a self, program: &'a Program, row: usize) -> LocalFuture<'a, Result<Profile, Error>> {
        Box::pin(async move { compiled(program)?.profile(&self.device, row).await })
    }

    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.device.wait())
    }

    fn pace<'a>(&'a self, ahead: usize) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.device.pace(ahead))
    }

    /// The adapter's own memory, where the API tells.
    fn room(&self) -> Option<Room> {
        let AdapterReport { name, memory, .. } = self.report();
        Some(Room { owner: format!("the memory of {name}"), bytes: (*memory)? })
    }

    fn memory(&self) -> MemoryUse {
        self.device.memory()
    }
}
