use crate::memory::{Arena, Buffer, Meter};
use crate::ops;
use crate::program::Compiled;
use crate::{room, threads};
use calotype_graph::{
    Caps, Clock, Error, Executor, Graph, Host, LocalFuture, MemoryUse, Port, Profile, Program, ProgramSpec,
    Room, Span, WeightId, pack_each, plan,
};
use calotype_tensor::{DType, HostTensor, Shape, Tensors};
use half::f16;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use web_time::Instant;

/// Runs graphs on the processor, at once: when [`Executor::run`] returns, the work is done.
pub struct CpuExecutor {
    meter: Meter,
    weights: RefCell<HashMap<String, Rc<Buffer>>>,
    /// Gone with the last program.
    arena: RefCell<Weak<Arena>>,
}

impl CpuExecutor {
    /// An executor on rayon's global thread pool (`RAYON_NUM_THREADS` sets its size).
    pub fn new() -> Self {
        threads::prepare();
        Self { meter: Meter::default(), weights: RefCell::default(), arena: RefCell::default() }
    }
}

impl Default for CpuExecutor {
    fn default() -> Self {
        Self::new()
    }
}

/// What identifies a weight here: the key it has on every device, and the shape it is padded to.
fn weight_key(graph: &Graph, id: WeightId, seen: Shape) -> String {
    format!("{} as {seen}", graph.weight_key(id))
}

fn compiled(program: &Program) -> Result<&Compiled, Error> {
    let foreign = || Error::Device("a program of another executor was given to the CPU".into());
    program.0.downcast_ref().ok_or_else(foreign)
}

impl Executor for CpuExecutor {
    fn describe(&self) -> String {
        let threads = rayon::current_num_threads();
        format!("CPU ({threads} thread{})", if threads == 1 { "" } else { "s" })
    }

    fn caps(&self) -> Caps {
        let unlimited = 1 << 48;
        Caps {
            max_buffer: unlimited,
            max_binding: unlimited,
            alignment: 4,
            max_groups: u32::MAX,
            host: Some(Host {
                scratch: ops::scratch,
                threads: rayon::current_num_threads(),
                overhead: room::overhead(),
            }),
            streams: false,
            software: true,
            ..Caps::default()
        }
    }

    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error> {
        Ok(Port { shape, dtype, inner: Buffer::zeros(name, shape.numel(), &self.meter)? })
    }

    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let buffer = Buffer::of(port)?;
        let size = port.dtype.size();
        let from = offset as usize / size;
        let to = from + bytes.len() / size;
        let whole = (offset as usize).is_multiple_of(size) && bytes.len().is_multiple_of(size);
        if !whole || to > buffer.len() {
            let message = format!(
                "cannot write {} bytes at {offset} of a {} port {}",
                bytes.len(),
                port.dtype,
                port.shape
            );
            return Err(Error::Device(message));
        }
        let words = &mut buffer.write()[from..to];
        match port.dtype {
            DType::F32 | DType::U32 => bytemuck::cast_slice_mut(words).copy_from_slice(bytes),
            DType::F16 | DType::BF16 => {
                words.copy_from_slice(
                    &HostTensor::from_bytes([to - from], port.dtype, bytes.to_vec()).to_f32(),
                );
            }
        }
        Ok(())
    }

    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>> {
        Box::pin(async move {
            let buffer = Buffer::of(port)?;
            let words = buffer.read();
            let bytes = match port.dtype {
                DType::F32 | DType::U32 => bytemuck::cast_slice(&words).to_vec(),
                DType::F16 => words.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
                DType::BF16 => words.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            };
            Ok(HostTensor::from_bytes(port.shape, port.dtype, bytes))
        })
    }

    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn Tensors,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let known = |id, seen| self.weights.borrow().contains_key(&weight_key(graph, id, seen));
            let wanted: Vec<(WeightId, Shape)> = graph
                .weight_values()
                .map(|(id, seen, _)| (id, seen))
                .filter(|(id, seen)| !known(*id, *seen))
                .collect();
            let mut at = wanted.iter();
            let mut keep = |id, packed: Vec<u8>| {
                progress(packed.len() as u64);
                let buffer =
                    Buffer::new(bytemuck::pod_collect_to_vec(&packed).into_boxed_slice(), &self.meter);
                let (_, seen) = at.next().expect("they come in order");
                self.weights.borrow_mut().insert(weight_key(graph, id, *seen), buffer);
                Ok(())
            };
            pack_each(graph, &wanted, source, true, &|_, _| false, &mut keep).await?;
            Ok(())
        })
    }

    fn unload(&self, checkpoint: u64, component: &str) {
        let prefix = Graph::weight_prefix(checkpoint, component);
        self.weights.borrow_mut().retain(|key, _| !key.starts_with(&prefix));
    }

    fn expire(&self, checkpoint: u64, changed: &dyn Fn(&str) -> bool) {
        self.weights.borrow_mut().retain(|key, _| !Graph::tensors_of(checkpoint, key).any(changed));
    }

    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error> {
        let caps = self.caps();
        let plan = |spec: &ProgramSpec<'_>| plan::plan(spec.graph, spec.precision, &caps);
        let plans = specs.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let bytes: u64 = plan::pool(&plans.iter().collect::<Vec<_>>()).iter().sum();
        let len = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
        let arena = self.arena.borrow().upgrade().unwrap_or_default();
        *self.arena.borrow_mut() = Rc::downgrade(&arena);
        let claim = arena.claim(len, &self.meter)?;
        let weights = self.weights.borrow();
        let compile = |(spec, plan): (&ProgramSpec<'_>, &plan::Plan)| {
            let find = |id, seen| weights.get(&weight_key(spec.graph, id, seen)).cloned();
            let compiled =
                Compiled::new(spec.graph, spec.ports, &find, plan, (arena.clone(), claim.clone()))?;
            Ok(Program(Rc::new(compiled)))
        };
        specs.iter().zip(&plans).map(compile).collect()
    }

    fn run(&self, program: &Program, row: usize) -> Result<(), Error> {
        compiled(program)?.run(row)
    }

    fn profile<'a>(&'a self, program: &'a Program, row: usize) -> LocalFuture<'a, Result<Profile, Error>> {
        Box::pin(async move {
            let mut spans = Vec::new();
            let (begin, mut start) = (Instant::now(), 0.0);
            compiled(program)?.run_with(row, |node, op| {
                let end = begin.elapsed().as_secs_f64();
                spans.push(Span { node, kernel: format!("{op} (CPU)"), start, seconds: end - start });
                start = end;
            })?;
            Ok(Profile { clock: Clock::Host, spans })
        })
    }

    fn pace<'a>(&'a self, _ahead: usize) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn memory(&self) -> MemoryUse {
        self.meter.read()
    }

    fn room(&self) -> Option<Room> {
        let free = room::free()?;
        Some(Room { bytes: free.bytes.saturating_add(self.meter.read().bytes), ..free })
    }
}
