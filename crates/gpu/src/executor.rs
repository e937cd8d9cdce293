use crate::adapter::{AdapterReport, Choice};
use crate::device::Device;
use crate::program::GpuProgram;
use crate::runner::Runner;
use crate::tiers::settle;
use calotype_graph::lower::Tier;
use calotype_graph::{
    Caps, Error, Executor, Graph, LocalFuture, MemoryUse, Port, Profile, Program, ProgramSpec, Room,
};
use calotype_tensor::{DType, HostTensor, Shape, Tensors};
use std::rc::Rc;

/// A GPU.
pub struct GpuExecutor {
    runner: Runner,
    #[cfg(not(target_arch = "wasm32"))]
    tuner: Option<crate::tuning::Tuner>,
}

impl GpuExecutor {
    /// Opens the GPU that `choice` means, and tries which kernels it can be trusted with.
    pub async fn new(choice: &Choice) -> Result<Self, crate::Error> {
        let mut runner = Runner::new(Device::open(choice).await?);
        let tiers = settle(&mut runner, choice).await?;
        if runner.device.check().is_err() && choice.tier.is_none() {
            // A driver that falls over one tier may still be good for those below it.
            let held = tiers.iter().filter(|t| t.used).map(|t| t.tier).max();
            let lower = Choice { tier: Some(held.unwrap_or(Tier::Plain)), ..choice.clone() };
            runner = Runner::new(Device::open(&lower).await?);
            settle(&mut runner, &lower).await?;
        }
        runner.device.report.tiers = tiers;
        runner.device.caps.only_cut = choice.only_cut;
        runner.device.begin();
        runner.pipelines.save();
        Ok(Self {
            #[cfg(not(target_arch = "wasm32"))]
            tuner: crate::tuning::Tuner::open(&runner.device, choice),
            runner,
        })
    }

    /// The adapter's features and limits.
    pub fn report(&self) -> &AdapterReport {
        self.runner.report()
    }

    /// Gives the device back at once. Whatever is asked of it later fails as it would on a device that was lost.
    pub fn destroy(&self) {
        self.runner.device.raw.destroy();
    }
}

fn compiled(program: &Program) -> Result<&GpuProgram, Error> {
    let foreign = || Error::Device("a program of another device was given".into());
    program.0.downcast_ref().ok_or_else(foreign)
}

impl Executor for GpuExecutor {
    fn describe(&self) -> String {
        let r = &self.runner.device.report;
        format!("{} ({})", r.name, r.backend)
    }

    fn caps(&self) -> Caps {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(tuner) = &self.tuner {
            return tuner.caps(&self.runner.device);
        }
        self.runner.device.caps.clone()
    }

    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error> {
        self.runner.port(name, shape, dtype)
    }

    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.runner.write(port, offset, bytes)
    }

    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>> {
        Box::pin(self.runner.read(port))
    }

    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn Tensors,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.runner.load(graph, source, progress))
    }

    fn unload(&self, checkpoint: u64, component: &str) {
        self.runner.unload(checkpoint, component);
    }

    fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        self.runner.expire(checkpoint, changed);
    }

    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error> {
        let programs = self.runner.prepare(specs, &self.caps())?;
        Ok(programs.into_iter().map(|program| Program(Rc::new(program))).collect())
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
            self.runner.arenas.release();
            tuner.tune(&self.runner, specs, begins).await
        })
    }

    fn footprint(&self, program: &Program) -> u64 {
        compiled(program).map_or(0, GpuProgram::footprint)
    }

    fn run(&self, program: &Program, row: usize) -> Result<(), Error> {
        self.runner.run(compiled(program)?, row)
    }

    fn profile<'a>(&'a self, program: &'a Program, row: usize) -> LocalFuture<'a, Result<Profile, Error>> {
        Box::pin(async move {
            let program = compiled(program)?;
            if program.stream.is_some() {
                let why = "launches are not timed one by one where their weights do not stay on the device: allow more memory";
                return Err(Error::Device(why.into()));
            }
            program.profile(&self.runner.device, row).await
        })
    }

    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.runner.device.wait())
    }

    fn pace<'a>(&'a self, ahead: usize) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(self.runner.device.pace(ahead))
    }

    /// The adapter's own memory, where the API tells.
    fn room(&self) -> Option<Room> {
        let AdapterReport { name, memory, .. } = self.report();
        Some(Room { owner: format!("the memory of {name}"), bytes: (*memory)? })
    }

    fn memory(&self) -> MemoryUse {
        self.runner.device.memory()
    }
}
