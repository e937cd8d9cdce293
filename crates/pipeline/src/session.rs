//! A model's parts on a device: brought there when they are needed, kept while there is room.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::parts::{Key, Leaving, PartGraphs, PortSpec, Stage, StageStream, Strategy};
use calotype_graph::{Error as GraphError, Executor, Ports, Precision, Program, ProgramSpec};
use calotype_models::Role;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use web_time::{Duration, Instant};

/// Stages whose products are tuned, those first that a picture spends most of its time on: many steps, one decoding, one
/// encoding, the context once. The text encoder is not: it takes a hundredth of the time.
const TUNED: [Stage; 5] = [Stage::Step, Stage::Reusing, Stage::Decoder, Stage::Encoder, Stage::Context];

/// What of one model is on a device.
pub(crate) struct Session {
    pub exec: Rc<dyn Executor>,
    /// Tells this model's weights, and its refiner's, from another's on the same device.
    checkpoints: [u64; 2],
    /// Parts that are ready, the one used last at the end.
    parts: Vec<(Key, Ready)>,
    /// Bytes that parts may hold whose place another size has taken.
    pub keep: u64,
    /// Bytes of weights that were brought to the device since the start.
    pub uploaded: Cell<u64>,
    /// Which parts leave when others come.
    leaving: Leaving,
    /// Stages whose weights do not all stay.
    streams: Vec<StageStream>,
    /// What loading has taken since the start.
    pub spent: LoadTimes,
    pub on_tuning: Option<Rc<dyn Fn(usize)>>,
}

/// What [`Pipeline::load`](crate::Pipeline::load) took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadTimes {
    /// Making or reading weights, laying them out, bringing them to the device.
    pub weights: Duration,
    /// Trying how products are best cut up on the device, where that is not known from an earlier start.
    pub tuning: Duration,
    /// Compiling kernels, making buffers and bindings.
    pub compile: Duration,
    /// Drawing up graphs, and all else.
    pub other: Duration,
}

impl LoadTimes {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.weights + self.tuning + self.compile + self.other
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.weights += more.weights;
        self.tuning += more.tuning;
        self.compile += more.compile;
        self.other += more.other;
    }
}

/// A part that can run.
pub(crate) struct Ready {
    pub ports: Ports,
    programs: BTreeMap<Stage, Program>,
    /// What it holds, and what it would hold of activations if it were alone.
    bytes: u64,
}

impl Ready {
    /// One of the part's own programs.
    pub fn program(&self, stage: Stage) -> &Program {
        &self.programs[&stage]
    }

    /// Those of what does not change from step to step.
    pub fn contexts(&self) -> impl Iterator<Item = &Program> {
        [Stage::Context, Stage::ReusingContext].iter().filter_map(|stage| self.programs.get(stage))
    }
}

impl Session {
    pub fn new(exec: Rc<dyn Executor>) -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        Self {
            exec,
            checkpoints: [(); 2].map(|()| OPENED.fetch_add(1, Ordering::Relaxed)),
            parts: Vec::new(),
            keep: 0,
            uploaded: Cell::new(0),
            leaving: Leaving::Nothing,
            streams: Vec::new(),
            spent: LoadTimes::default(),
            on_tuning: None,
        }
    }

    /// Forgets the weights of the model's components, which are others now, and the parts that hold them.
    pub fn forget(&mut self, roles: &[Role]) {
        self.drop_kinds(|refines, role| !refines && roles.contains(&role));
    }

    /// Drops parts of some kinds, and their weights.
    fn drop_kinds(&mut self, is_one: impl Fn(bool, Role) -> bool) {
        self.parts.retain(|(key, _)| !is_one(key.refines, key.part.role()));
        for (refines, checkpoint) in [false, true].into_iter().zip(self.checkpoints) {
            let roles = Role::ALL.into_iter().filter(|role| is_one(refines, *role));
            roles.for_each(|role| self.exec.unload(checkpoint, role.folder()));
        }
    }

    /// Drops the parts that hold the model's components' weights, and leaves the weights.
    pub fn drop_parts(&mut self, roles: &[Role]) {
        self.parts.retain(|(key, _)| key.refines || !roles.contains(&key.part.role()));
    }

    /// What tells the model's weights from another's.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoints[0]
    }

    /// A part that was prepared.
    pub fn get(&self, key: Key) -> &Ready {
        let found = self.parts.iter().find(|(held, _)| *held == key);
        &found.expect("what is used was prepared").1
    }

    /// Makes parts ready, those that are not, all of one group. Those of other groups leave first, with their weights; others of
    /// their kinds too, as far as they are more than may be kept; all of them where memory runs out.
    pub async fn prepare(&mut self, model: &Model, keys: &[Key]) -> Result<()> {
        // What is used now is the last to go.
        self.parts.sort_by_key(|(held, _)| keys.contains(held));
        let missing: Vec<Key> = keys.iter().copied().filter(|key| !self.has(*key)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let mut drawn = missing.iter().map(|key| key.draw(model)).collect::<Result<Vec<_>>>()?;
        for part in &mut drawn {
            let checkpoint = self.checkpoints[usize::from(part.key.refines)];
            for (stage, graph) in &mut part.graphs {
                graph.checkpoint = checkpoint;
                let own =
                    |stream: &&StageStream| (stream.stage, stream.refines) == (*stage, part.key.refines);
                graph.streamed = self.streams.iter().find(own).map(StageStream::streamed);
            }
        }
        let mut times = LoadTimes { other: start.elapsed(), ..LoadTimes::default() };
        self.leave(keys);
        self.make_room(keys, self.keep);
        let before = self.parts.len();
        let mut brought = self.bring(model, &drawn, &mut times).await;
        if matches!(brought, Err(Error::Graph(GraphError::OutOfMemory { .. }))) {
            self.make_room(keys, 0);
            if self.parts.len() < before {
                brought = self.bring(model, &drawn, &mut times).await;
            }
        }
        self.spent.add(times);
        self.parts.extend(missing.into_iter().zip(brought?));
        Ok(())
    }

    /// Whether a part is ready.
    pub fn has(&self, key: Key) -> bool {
        self.parts.iter().any(|(held, _)| *held == key)
    }

    /// Keeps to a strategy from now on. What was loaded by another that streams is loaded anew.
    pub fn keep_to(&mut self, strategy: &Strategy) {
        if self.streams != strategy.streams {
            self.drop_kinds(|_, _| true);
            self.streams.clone_from(&strategy.streams);
        }
        self.leaving = strategy.leaving;
    }

    /// Those of a run's parts that are on the device at the same time as one of them.
    pub fn beside(&self, parts: &[Key], one: Key) -> Vec<Key> {
        let group = |key: &Key| self.leaving.group(key.part.role(), key.refines);
        parts.iter().filter(|key| group(key) == group(&one)).copied().collect()
    }

    /// Gives the device to a group's parts alone.
    fn leave(&mut self, keys: &[Key]) {
        let leaving = self.leaving;
        let stays: Vec<usize> = keys.iter().map(|key| leaving.group(key.part.role(), key.refines)).collect();
        self.drop_kinds(|refines, role| !stays.contains(&leaving.group(role, refines)));
    }

    /// Drops parts of the same kinds as `keys` that are none of them, but for those used last that hold `keep` bytes.
    fn make_room(&mut self, keys: &[Key], mut keep: u64) {
        let is_like = |own: &Key, key: &Key| own.refines == key.refines && own.part.is_like(key.part);
        let parts = std::mem::take(&mut self.parts);
        for (key, part) in parts.into_iter().rev() {
            let replaced = !keys.contains(&key) && keys.iter().any(|own| is_like(own, &key));
            if !replaced || part.bytes <= keep {
                keep -= if replaced { part.bytes } else { 0 };
                self.parts.insert(0, (key, part));
            }
        }
    }

    async fn bring(&self, model: &Model, drawn: &[PartGraphs], times: &mut LoadTimes) -> Result<Vec<Ready>> {
        let (start, before) = (Instant::now(), times.total());
        let mut ports: Vec<Ports> = Vec::new();
        for part in drawn {
            let port = |(name, spec): (&String, &PortSpec)| {
                Ok((name.clone(), self.exec.port(name, spec.shape, spec.dtype)?))
            };
            ports.push(part.ports.iter().map(port).collect::<Result<_>>()?);
            for (_, graph) in &part.graphs {
                let components = &model.of_two(part.key.refines).components;
                let mut count = |bytes| self.uploaded.set(self.uploaded.get() + bytes);
                self.exec.load(graph, components, &mut count).await?;
            }
        }
        times.weights += start.elapsed() + before - times.total();

        let mut specs: Vec<(Stage, ProgramSpec<'_>)> = Vec::new();
        for (part, ports) in drawn.iter().zip(&ports) {
            let precision: Precision = part.key.precision;
            specs.extend(part.graphs.iter().map(|(s, graph)| (*s, ProgramSpec { graph, ports, precision })));
        }
        // Every run writes all that its programs read, so nothing of what is tried here is left in the ports by then.
        let stays = |(_, spec): &&(Stage, ProgramSpec<'_>)| spec.graph.streamed.is_none();
        let tuned =
            TUNED.iter().flat_map(|stage| specs.iter().filter(stays).filter(move |(s, _)| s == stage));
        let tuned: Vec<ProgramSpec<'_>> = tuned.map(|(_, spec)| *spec).collect();
        if !tuned.is_empty() {
            let told = |products| self.on_tuning.iter().for_each(|told| told(products));
            self.exec.tune(&tuned, &told).await?;
        }
        times.tuning += start.elapsed() + before - times.total();

        let all: Vec<ProgramSpec<'_>> = specs.iter().map(|(_, spec)| *spec).collect();
        let mut programs = self.exec.prepare(&all)?.into_iter();
        let mut ready = Vec::new();
        for (part, ports) in drawn.iter().zip(&ports) {
            let own: u64 = part.ports.values().map(|p| (p.shape.numel() * p.dtype.size()) as u64).sum();
            let programs: BTreeMap<Stage, Program> =
                part.graphs.iter().map(|(stage, _)| *stage).zip(&mut programs).collect();
            let bytes = own + programs.values().map(|program| self.exec.footprint(program)).sum::<u64>();
            ready.push(Ready { ports: ports.clone(), programs, bytes });
        }
        times.compile += start.elapsed() + before - times.total();
        Ok(ready)
    }
}

impl Drop for Session {
    /// Gives back what the model held on the device: an executor outlives the models it ran.
    fn drop(&mut self) {
        self.parts.clear();
        self.checkpoints.iter().for_each(|checkpoint| self.exec.unload(*checkpoint, ""));
    }
}
