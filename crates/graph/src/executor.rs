use crate::caps::Caps;
use crate::error::Error;
use crate::graph::Graph;
use crate::precision::Precision;
use calotype_tensor::{DType, HostTensor, LocalFuture, Shape, Tensors};
use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A tensor on the device that outlives a run: an input, an output, or state that stays between runs.
#[derive(Clone)]
pub struct Port {
    /// Its shape.
    pub shape: Shape,
    /// How its elements are stored.
    pub dtype: DType,
    /// The executor's own.
    pub inner: PortId,
}

/// The executor's own side of a port; dropping the last one frees its memory.
pub type PortId = Rc<dyn Any>;

/// Ports by the names of a graph's inputs and outputs.
pub type Ports = BTreeMap<String, Port>;

/// A graph made ready to run; dropping the last copy frees its memory.
#[derive(Clone)]
pub struct Program(pub Rc<dyn Any>);

/// What [`Executor::prepare`] makes a program of.
#[derive(Clone, Copy)]
pub struct ProgramSpec<'a> {
    /// A graph whose weights are resolved and loaded.
    pub graph: &'a Graph,
    /// A port for every input and output.
    pub ports: &'a Ports,
    /// How activations are stored.
    pub precision: Precision,
}

/// What [`Executor::profile`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Whose clock it was.
    pub clock: Clock,
    /// Every launch, in order.
    pub spans: Vec<Span>,
}

/// How launches were timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// By the device: timestamp queries around each.
    Timestamps,
    /// By the host: each repeated, the time of some less that of one.
    Batches,
    /// By the host, as it computed.
    Host,
}

/// One launch, timed by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The graph's node that it belongs to, by index.
    pub node: usize,
    /// The kernel's name, with its variant.
    pub kernel: String,
    /// Seconds from the first launch's beginning to this one's.
    pub start: f64,
    /// Seconds it took.
    pub seconds: f64,
}

/// Device memory an executor holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held now.
    pub bytes: u64,
    /// The most that was ever held.
    pub peak: u64,
    /// How many allocations were ever made.
    pub allocations: u64,
}

/// Memory that may be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whose it is, such as `the memory of NVIDIA GeForce RTX 4090`.
    pub owner: String,
    /// Bytes.
    pub bytes: u64,
}

/// Runs graphs. The CPU and the GPU are two; the loop that makes pictures knows neither.
pub trait Executor {
    /// The device in words, such as `NVIDIA GeForce RTX 4090 (vulkan)`.
    fn describe(&self) -> String;

    /// What the device can do.
    fn caps(&self) -> Caps;

    /// Allocates a port. Its contents are zero.
    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error>;

    /// Writes bytes into a port, from byte `offset` on, before anything that is run later.
    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Reads a port after everything that was run.
    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>>;

    /// Brings a graph's weights to the device, those that are not there yet; calls `progress` with the bytes of
    /// each.
    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn Tensors,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>>;

    /// Forgets the weights of a checkpoint ([`Graph::checkpoint`]): of one component ([`Graph::within`]), or of all where
    /// none is named. Programs that use them keep them until they go too.
    fn unload(&self, checkpoint: u64, component: &str);

    /// Forgets those weights of a checkpoint that are made of a tensor that is another now, by its name. What is loaded in
    /// their place lies where they did. Programs that use them must go first.
    fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool);

    /// Makes programs ready to run. All programs share one set of activation buffers, so only one may run at a time.
    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error>;

    /// Tries on the device how the products of programs to be prepared are best cut up, those that no earlier start has
    /// tried, and has them prepared like that from then on. The graphs' weights must be loaded; those that run most
    /// often come first, since there is a limit to the time that this takes. Calls `begins` with the number of products
    /// before it begins, if there are any. What the ports hold afterwards means nothing.
    fn tune<'a>(
        &'a self,
        _specs: &'a [ProgramSpec<'a>],
        _begins: &'a dyn Fn(usize),
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Bytes that a program holds by itself, or would hold of activations if it were alone.
    fn footprint(&self, _program: &Program) -> u64 {
        0
    }

    /// Runs a program, as a rule without waiting for its end. `row` is the row of the step table it sees.
    fn run(&self, program: &Program, row: usize) -> Result<(), Error>;

    /// Runs a program with every launch timed by itself, and waits for its end. Slower than [`run`](Self::run), which
    /// pays nothing for it; launches that could overlap do not.
    fn profile<'a>(&'a self, _program: &'a Program, _row: usize) -> LocalFuture<'a, Result<Profile, Error>> {
        let error = Error::Device(format!("{} cannot time its launches", self.describe()));
        Box::pin(std::future::ready(Err(error)))
    }

    /// Waits for everything that was run. Fails where the device was lost or ran out of memory.
    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>>;

    /// Waits until at most `ahead` of the runs that were started are unfinished: what keeps the host from running
    /// away from the device while it never makes the device wait.
    fn pace<'a>(&'a self, ahead: usize) -> LocalFuture<'a, Result<(), Error>>;

    /// The memory held.
    fn memory(&self) -> MemoryUse;

    /// The most that may be held in all, now: what is held and what is free. None where nothing tells.
    fn room(&self) -> Option<Room> {
        None
    }
}
