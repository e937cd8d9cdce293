//! `calotype check`: the parts of it that hold one executor against another.

use crate::support::Device;
use calotype::{Caps, Executor, HostTensor, Precision, Shape};
use calotype_cpu::CpuExecutor;
use calotype_graph::{Error, Graph, LocalFuture, MemoryUse, Port, Program, ProgramSpec};
use calotype_tensor::{DType, Tensors};
use calotype_testkit::cases;
use calotype_testkit::check::Oracle;
use std::cell::Cell;

/// The CPU, whose results are wrong in one value where a graph holds an op.
struct Damaged {
    cpu: CpuExecutor,
    op: &'static str,
    how: fn(f32) -> f32,
    here: Cell<bool>,
}

impl Executor for Damaged {
    fn describe(&self) -> String {
        "damaged".into()
    }
    fn caps(&self) -> Caps {
        self.cpu.caps()
    }
    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error> {
        self.cpu.port(name, shape, dtype)
    }
    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.cpu.write(port, offset, bytes)
    }
    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>> {
        Box::pin(async move {
            let read = self.cpu.read(port).await?;
            if !self.here.get() || read.dtype() == DType::U32 {
                return Ok(read);
            }
            let mut values = read.to_f32();
            let at = values.len() / 2;
            values[at] = (self.how)(values[at]);
            Ok(HostTensor::from_f32(read.shape(), &values))
        })
    }
    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn Tensors,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>> {
        self.cpu.load(graph, source, progress)
    }
    fn unload(&self, checkpoint: u64, component: &str) {
        self.cpu.unload(checkpoint, component);
    }
    fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        self.cpu.expire(checkpoint, changed);
    }
    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error> {
        self.here.set(specs.iter().any(|s| s.graph.nodes().iter().any(|n| n.op.name() == self.op)));
        self.cpu.prepare(specs)
    }
    fn run(&self, program: &Program, row: usize) -> Result<(), Error> {
        self.cpu.run(program, row)
    }
    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>> {
        self.cpu.wait()
    }
    fn pace<'a>(&'a self, ahead: usize) -> LocalFuture<'a, Result<(), Error>> {
        self.cpu.pace(ahead)
    }
    fn memory(&self) -> MemoryUse {
        self.cpu.memory()
    }
}

/// Names of the norms that depart.
fn departing(device: &dyn Executor) -> Vec<String> {
    let cpu = CpuExecutor::new();
    let (mut oracle, mut names) = (Oracle::new(&cpu), Vec::new());
    for case in cases().iter().filter(|c| ["layer_norm", "group_norm", "softmax", "add"].contains(&c.stem()))
    {
        let held = oracle.hold(device, case, Precision::F32).unwrap().expect("the CPU refuses nothing");
        if held.departs() {
            names.push(held.name);
        }
    }
    names
}

#[test]
fn a_damaged_op_is_named() {
    let damages: [fn(f32) -> f32; 3] = [|v| v + 1.0, |_| f32::NAN, |_| f32::INFINITY];
    for how in damages {
        let damaged = Damaged { cpu: CpuExecutor::new(), op: "layer_norm", how, here: Cell::default() };
        let names = departing(&damaged);
        assert!(!names.is_empty() && names.iter().all(|n| n.starts_with("layer_norm")), "{names:?}");
    }
}

#[test]
fn sound_executors_do_not_depart() {
    for device in Device::all().into_iter().filter(|d| d.name != "plain gpu") {
        assert_eq!(departing(&*device.executor), Vec::<String>::new(), "{}", device.name);
    }
}
