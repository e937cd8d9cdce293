//! A thread that owns a device and its model: jobs in, progress and pictures out. Whoever has many who ask, a server, a window, gives
//! it what they want drawn and goes on with other work.

mod draw;
mod job;

pub use job::{Failure, Job, LoraFile, MadePicture, Outcome};

use calotype::{Picture, Pipeline};
use draw::WorkerThread;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What tells jobs apart: no two of a worker's have the same.
pub type JobId = u64;

/// Opens a model by its name, on the worker's own thread.
pub type Open = Box<dyn FnMut(&str) -> Result<Pipeline, Failure>>;

/// What is called once with what became of a job.
type Told = Box<dyn FnOnce(Outcome) + Send>;

/// A thread that draws, one job after another, in the order in which they came.
pub struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// As many jobs wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many wait.
    pub waiting: usize,
}

/// What a worker is at.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Jobs that wait.
    pub waiting: usize,
    /// The one that is being drawn.
    pub running: Option<RunningJob>,
    /// The model that it has open.
    pub model: Option<String>,
}

/// A job that is being drawn.
#[derive(Clone, Debug)]
pub struct RunningJob {
    /// Which.
    pub id: JobId,
    /// Batches that are done, and those that there are to be.
    pub batches: [u32; 2],
    /// Steps of this batch that are done, and those that it takes; none while models are opened and prompts read.
    pub steps: [usize; 2],
    /// Since it began.
    pub elapsed: Duration,
    /// A rough picture of its first image, where somebody has [looked](Worker::look) and the model can show one.
    pub preview: Option<Picture>,
}

/// How far a run is asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    #[default]
    Not,
    /// This batch alone.
    Batch,
    Job,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(JobId, Job, Told)>,
    running: Option<(RunningJob, Instant, Stop)>,
    model: Option<String>,
    looked: Option<Instant>,
    next: JobId,
    ended: bool,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    came: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // What is in it is whole after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long after somebody has looked previews are still made.
const LOOKED: Duration = Duration::from_secs(10);

impl Worker {
    /// Starts a worker, and has it open a model by what `make` makes on its thread. Fails where that cannot be done.
    pub fn start(model: &str, make: impl FnOnce() -> Open + Send + 'static) -> Result<Self, Failure> {
        let shared = Arc::new(Shared { queue: Mutex::default(), came: Condvar::new() });
        let (opened, first) = std::sync::mpsc::channel();
        let (own, model) = (Arc::clone(&shared), model.to_owned());
        let run = move || {
            let mut open = make();
            let pipeline = match open(&model) {
                Ok(pipeline) => pipeline,
                Err(error) => return drop(opened.send(Err(error))),
            };
            own.queue().model = Some(model.clone());
            let _ = opened.send(Ok(()));
            WorkerThread::new(model, pipeline, open).work(&own);
        };
        let thread = thread::Builder::new().name("worker".into()).spawn(run);
        let thread = thread.map_err(|e| Failure::model(format!("no thread can be started: {e}")))?;
        let ended = || Failure::model("the worker ended before its model was open".into());
        first.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes a job, unless `most` wait already; `told` is called with what became of it, on the worker's thread or on that of
    /// who cancels it.
    pub fn submit(
        &self,
        job: Job,
        most: usize,
        told: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<JobId, Full> {
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= most || queue.ended {
            return Err(Full { waiting: queue.waiting.len() });
        }
        queue.next += 1;
        let id = queue.next;
        queue.waiting.push_back((id, job, Box::new(told)));
        self.shared.came.notify_one();
        Ok(id)
    }

    /// Takes back a job that waits, and stops the one that is being drawn at its next step; one that is done stays so.
    pub fn cancel(&self, id: JobId) {
        let mut queue = self.shared.queue();
        if let Some((.., stop)) = queue.running.as_mut().filter(|(running, ..)| running.id == id) {
            *stop = Stop::Job;
        }
        let at = queue.waiting.iter().position(|(waiting, ..)| *waiting == id);
        let taken = at.and_then(|at| queue.waiting.remove(at));
        drop(queue);
        if let Some((_, _, told)) = taken {
            told(Outcome { pictures: Vec::new(), stopped: true, failure: None });
        }
    }

    /// Stops what is being drawn at its next step; what of it is done is kept.
    pub fn interrupt(&self) {
        self.stop(Stop::Job);
    }

    /// Stops the batch that is being drawn at its next step, and goes on with the job's next one.
    pub fn skip(&self) {
        self.stop(Stop::Batch);
    }

    fn stop(&self, how: Stop) {
        if let Some((.., stop)) = &mut self.shared.queue().running {
            *stop = how.max(*stop);
        }
    }

    /// What it is at.
    pub fn state(&self) -> State {
        let queue = self.shared.queue();
        let running = queue
            .running
            .as_ref()
            .map(|(running, since, _)| RunningJob { elapsed: since.elapsed(), ..running.clone() });
        State { waiting: queue.waiting.len(), running, model: queue.model.clone() }
    }

    /// Has previews made for a while, since somebody looks at them: each takes a moment.
    pub fn look(&self) {
        self.shared.queue().looked = Some(Instant::now());
    }

    /// Takes no more jobs, stops what is being drawn, and waits for its end. Jobs that wait are told that they are stopped.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        let mut queue = self.shared.queue();
        queue.ended = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.stop(Stop::Job);
        self.shared.came.notify_one();
        for (_, _, told) in waiting {
            told(Outcome { pictures: Vec::new(), stopped: true, failure: None });
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.finish();
    }
}
