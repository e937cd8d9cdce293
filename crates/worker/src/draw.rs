//! The worker's own thread.

use crate::job::{Failure, Job, LoraFile, MadePicture, Outcome};
use crate::{JobId, LOOKED, Open, RunningJob, Shared, Stop};
use calotype::{Kind, Lora, NamedLora, Pipeline, Request};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the thread holds.
pub struct WorkerThread {
    /// The model that is open, by its name; none after it could not be opened.
    open: Option<(String, Pipeline)>,
    first: String,
    opens: Open,
    loras: BTreeMap<PathBuf, Rc<Lora>>,
}

impl WorkerThread {
    pub fn new(model: String, pipeline: Pipeline, opens: Open) -> Self {
        Self { first: model.clone(), open: Some((model, pipeline)), opens, loras: BTreeMap::new() }
    }

    /// Draws job after job until there are to be no more.
    pub fn work(mut self, shared: &Shared) {
        loop {
            let mut queue = shared.queue();
            let (id, job, told) = loop {
                if queue.ended {
                    return;
                }
                match queue.waiting.pop_front() {
                    Some(next) => break next,
                    None => queue = shared.came.wait(queue).unwrap_or_else(|e| e.into_inner()),
                }
            };
            let running = RunningJob {
                id,
                batches: [0, job.batches],
                steps: [0, 0],
                elapsed: Duration::ZERO,
                preview: None,
            };
            queue.running = Some((running, Instant::now(), Stop::Not));
            drop(queue);
            let mut outcome = Outcome::default();
            // A fault in one job is none of the next one's; what it left half done is opened anew.
            let done = catch_unwind(AssertUnwindSafe(|| self.run(shared, &job, id, &mut outcome)));
            outcome.failure = match done {
                Ok(done) => done.err(),
                Err(_) => {
                    self.open = None;
                    let why = "the job ended by a fault of the program's; the log tells more".into();
                    Some(Failure { why, kind: Kind::Broken })
                }
            };
            let mut queue = shared.queue();
            queue.running = None;
            queue.model = self.open.as_ref().map(|(name, _)| name.clone());
            drop(queue);
            told(outcome);
        }
    }

    fn run(&mut self, shared: &Shared, job: &Job, id: JobId, outcome: &mut Outcome) -> Result<(), Failure> {
        let loras = self.loras(&job.loras)?;
        let pipeline = self.model(job.model.as_deref())?;
        pipeline.set_loras(&loras)?;
        let looked = || shared.queue().looked.is_some_and(|at| at.elapsed() < LOOKED);
        let mut request = job.request.clone();
        for batch in 0..job.batches {
            // What cannot be shown on the way can be drawn all the same.
            if looked()
                && let Err(error) = pipeline.prepare_previews(&request)
            {
                log::warn!("no previews: {error}");
            }
            let order = pipeline.settle(&request)?;
            let output = pipeline.draw(&order, |at, run| {
                // The device is waited for where somebody looks, and else not.
                let preview = if looked() { run.preview().ok().flatten() } else { None };
                let mut queue = shared.queue();
                let Some((running, _, stop)) = queue.running.as_mut().filter(|(r, ..)| r.id == id) else {
                    return ControlFlow::Break(());
                };
                running.steps = [at.step, at.steps];
                running.preview = preview.or(running.preview.take());
                if *stop == Stop::Not { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match output {
                Ok(output) => {
                    for (i, (picture, seed)) in output.pictures.into_iter().zip(output.seeds).enumerate() {
                        let settings = order.settings(i).to_string();
                        outcome.pictures.push(MadePicture { picture, seed, settings });
                    }
                }
                Err(error) if error.is_stopped() => outcome.stopped = true,
                Err(error) => return Err(error.into()),
            }
            let mut queue = shared.queue();
            if let Some((running, _, stop)) = &mut queue.running {
                if *stop == Stop::Job {
                    outcome.stopped = true;
                    break;
                }
                (running.batches[0], running.steps, *stop) = (batch + 1, [0, 0], Stop::Not);
            }
            drop(queue);
            advance(&mut request);
        }
        Ok(())
    }

    /// The model of a job, opened where another is. That one leaves first: there may be no room for two.
    fn model(&mut self, name: Option<&str>) -> Result<&mut Pipeline, Failure> {
        let is_open = |open: &(String, Pipeline)| name.is_none_or(|name| open.0 == name);
        let open = match self.open.take().filter(is_open) {
            Some(open) => open,
            None => {
                let name = name.unwrap_or(&self.first).to_owned();
                let pipeline = (self.opens)(&name)?;
                (name, pipeline)
            }
        };
        Ok(&mut self.open.insert(open).1)
    }

    /// LoRAs, each file opened once.
    fn loras(&mut self, wanted: &[LoraFile]) -> Result<Vec<NamedLora>, Failure> {
        let mut named = Vec::new();
        for LoraFile { name, file, scale } in wanted {
            if !self.loras.contains_key(file) {
                self.loras.insert(file.clone(), Rc::new(Lora::open(file).map_err(calotype::Error::from)?));
            }
            named.push((name.clone(), Rc::clone(&self.loras[file]), *scale));
        }
        Ok(named)
    }
}

/// The request of the batch after this: variations go on from the other seed, as within a batch.
fn advance(request: &mut Request) {
    let by = request.batch_size as u64;
    match &mut request.variation_seed {
        Some(seed) if request.variation_strength > 0.0 => *seed = seed.wrapping_add(by),
        _ => request.seed = request.seed.wrapping_add(by),
    }
}
