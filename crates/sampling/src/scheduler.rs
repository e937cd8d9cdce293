//! A model's own scheduler: the class that its folder names, whether or not it is implemented here, and the fields of
//! its `scheduler_config.json`, from which any sampler may be set up.

use crate::diffusers::{Asked, Class, SCHEDULE_FLAGS, SchedulerConfig, quote_infinities};
use crate::error::{Error, Result};
use crate::program::{Program, Sheet};
use crate::samplers::Sampler;
use crate::schedule::Schedule;
use calotype_field::Field;
use serde_json::{Map, Value};

/// A sampler with the configuration that its class of diffusers makes of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduler {
    /// The sampler.
    pub sampler: Sampler,
    /// What the file says, as the sampler's class reads it.
    pub config: SchedulerConfig,
}

impl Scheduler {
    /// The program for `steps` steps. `eta` scales DDIM's and TCD's noise (0 is deterministic); other samplers ignore it.
    ///
    /// Errors where the sampler cannot take this many steps, or where the configuration makes it divide by zero.
    pub fn program(&self, steps: usize, eta: f64) -> Result<Program> {
        Program::assemble(self.sampler.name(), self.sheet(Asked { steps, begin: 0, is_late: false, eta })?)
    }

    pub(crate) fn sheet(&self, asked: Asked) -> Result<Sheet> {
        let class = match self.config.trained.edm {
            Some(_) => self.sampler.edm_class()?,
            None => self.sampler.class()?,
        };
        (class.program)(&self.config, asked)
    }
}

/// A class, and a file's fields.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerFile {
    /// Its name in errors.
    place: String,
    class: String,
    fields: Map<String, Value>,
    /// Whether a Stable Diffusion pipeline loaded it.
    loaded: bool,
}

/// Classes that are not implemented, whose models were trained on betas as those of the implemented ones, each with the
/// sampler that comes nearest.
const NEAREST: [(&str, Sampler); 12] = [
    ("DDIMInverseScheduler", Sampler::DDIM),
    ("DDIMParallelScheduler", Sampler::DDIM),
    ("DDPMParallelScheduler", Sampler::DDIM),
    ("DDPMScheduler", Sampler::DDIM),
    ("DEISMultistepScheduler", Sampler::DPM_SOLVER),
    ("DPMSolverMultistepInverseScheduler", Sampler::DPM_SOLVER),
    ("DPMSolverSDEScheduler", Sampler::DPMPP_SDE),
    ("DPMSolverSinglestepScheduler", Sampler::DPM_SOLVER),
    ("KDPM2AncestralDiscreteScheduler", Sampler::DPM2_ANCESTRAL),
    ("KDPM2DiscreteScheduler", Sampler::DPM2),
    ("RePaintScheduler", Sampler::DDIM),
    ("SASolverScheduler", Sampler::SA_SOLVER),
];

/// Fields of which one tells that a model was trained on betas.
const BETAS: [&str; 4] = ["beta_start", "beta_end", "beta_schedule", "trained_betas"];

/// What a file is called that nobody names.
const PLACE: &str = "scheduler_config.json";

impl SchedulerFile {
    /// Reads the text of a `scheduler_config.json`. The class is the one that the folder's index names: diffusers loads
    /// that one with the file's fields, whatever the file calls itself.
    pub fn new(class: &str, text: &str) -> Result<SchedulerFile> {
        Self::at(PLACE, class, text)
    }

    /// The same, with the file's name in errors.
    pub fn at(place: &str, class: &str, text: &str) -> Result<SchedulerFile> {
        let mut fields = parse(place, text)?;
        if let Some(Value::Array(defaulted)) = fields.remove("_use_default_values") {
            defaulted.iter().filter_map(Value::as_str).for_each(|name| {
                fields.remove(name);
            });
        }
        settle(class, &mut fields);
        Ok(SchedulerFile { place: place.into(), class: class.into(), fields, loaded: false })
    }

    /// Reads a file that stands by itself, which names its own class.
    pub fn alone(text: &str) -> Result<SchedulerFile> {
        match parse(PLACE, text)?.get("_class_name").and_then(Value::as_str) {
            Some(class) => Self::new(class, text),
            None => Err(Error::scheduler("_class_name", "null", "a scheduler's class was expected")),
        }
    }

    /// The class of diffusers.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// What the model predicts, in the words of the file.
    pub fn prediction_type(&self) -> &str {
        self.fields.get("prediction_type").and_then(Value::as_str).unwrap_or("epsilon")
    }

    /// The two changes that diffusers' Stable Diffusion pipelines make to the configuration of a folder that they
    /// load: `steps_offset` becomes 1, and `clip_sample` is turned off where it is true, not where it only counts as
    /// that (pipeline_stable_diffusion.py).
    pub fn as_stable_diffusion_loads_it(mut self) -> SchedulerFile {
        if let Some(offset) = self.fields.get_mut("steps_offset") {
            *offset = 1.into();
        }
        if let Some(clip @ Value::Bool(true)) = self.fields.get_mut("clip_sample") {
            *clip = false.into();
        }
        self.loaded = true;
        self
    }

    /// As `Class.from_config(config, **fields)` in diffusers.
    pub fn as_class(&self, class: &str, fields: &Map<String, Value>) -> SchedulerFile {
        let mut all = self.fields.clone();
        all.extend(fields.clone());
        SchedulerFile { place: self.place.clone(), class: class.into(), fields: all, loaded: false }
    }

    /// The class's own sampler.
    ///
    /// Errors where there is none here, and say which to take in its place; and as
    /// [`with_sampler`](Self::with_sampler) does.
    pub fn own(&self) -> Result<Scheduler> {
        let Some(sampler) = self.sampler() else {
            let (class, nearest) = (&self.class, self.nearest()?);
            return Err(Error::Sampler(format!(
                "the model's own scheduler, {class}, is not implemented: give {} {nearest}, which comes nearest, \
                 or another of {}",
                Field::Sampler,
                Sampler::listed(|sampler| sampler.descriptor().class.is_some())
            )));
        };
        let mut scheduler = self.config(sampler, &self.fields)?;
        if self.loaded {
            let config = &mut scheduler.config;
            config.steps_offset = 1;
            config.clip_sample = config.clip_sample.filter(|_| self.fields.contains_key("clip_sample"));
        }
        Ok(scheduler)
    }

    /// As `Class.from_config(config, use_karras_sigmas=…)` in diffusers: fields that both classes have are kept,
    /// the others get the new class's defaults. With no `sampler` or `schedule` the file's own is kept.
    ///
    /// Errors where the sampler has no such noise schedule, and name the field and its value where one is not
    /// implemented.
    pub fn with_sampler(&self, sampler: Option<Sampler>, schedule: Option<Schedule>) -> Result<Scheduler> {
        let Some(sampler) = sampler.or(self.sampler()) else { return self.own() };
        if self.sampler().is_none() {
            self.nearest()?;
        }
        let mut fields = self.fields.clone();
        if let Some(schedule) = schedule {
            if !schedule.is_diffusers() {
                return Err(Error::Sampler(format!(
                    "scheduler {schedule} is none of diffusers': give {} k or comfy, or one of discrete, karras, \
                     exponential, beta",
                    Field::Dialect
                )));
            }
            if schedule != Schedule::Discrete && Sampler::is_edm(&self.class) {
                return Err(Error::Sampler(format!(
                    "this model was trained on sigmas of a range (EDM), which its own file chooses: leave {} out",
                    Field::Schedule
                )));
            }
            if schedule != Schedule::Discrete && !sampler.has_schedules() {
                return Err(Error::Sampler(format!(
                    "sampler {sampler} has no {schedule} scheduler: use {} discrete, or one of the samplers {}",
                    Field::Schedule,
                    Sampler::listed(|sampler| sampler.has_schedules())
                )));
            }
            for (name, which) in SCHEDULE_FLAGS {
                fields.insert(name.into(), (schedule == which).into());
            }
        }
        self.config(sampler, &fields)
    }

    /// The same error with the file's name, where it is about the file.
    pub fn named(&self, error: Error) -> Error {
        error.of_scheduler(&self.place)
    }

    fn config(&self, sampler: Sampler, fields: &Map<String, Value>) -> Result<Scheduler> {
        let every: Vec<&Class> = Sampler::classes().collect();
        let class = if Sampler::is_edm(&self.class) { sampler.edm_class()? } else { sampler.class()? };
        let config = class.read(fields, &every).map_err(|error| self.named(error))?;
        Ok(Scheduler { sampler, config })
    }

    /// The class's own sampler, where it is implemented, or the one that comes nearest.
    ///
    /// Errors where the model was not trained on betas: every sampler here would make noise of it.
    pub fn nearest(&self) -> Result<Sampler> {
        let known = NEAREST.iter().find(|(class, _)| *class == self.class).map(|(_, sampler)| *sampler);
        let betas = BETAS.iter().any(|name| self.fields.get(*name).is_some_and(|v| !v.is_null()));
        self.sampler().or(known).or(betas.then_some(Sampler::EULER)).ok_or_else(|| {
            Error::Untrained(format!(
                "the model's own scheduler, {}, is not implemented, and no {} can stand in for it: they are for \
                 models that were trained on betas, of which {} has none",
                self.class,
                Field::Sampler,
                self.place
            ))
        })
    }

    fn sampler(&self) -> Option<Sampler> {
        Sampler::of_class(&self.class)
    }
}

fn parse(place: &str, text: &str) -> Result<Map<String, Value>> {
    let read = serde_json::from_str(&quote_infinities(text));
    read.map_err(|error| Error::NotJson { file: place.into(), error })
}

/// Some classes put a value of their own in the place of one that is another solver's, and that is then what further
/// classes are set up with.
fn settle(class: &str, fields: &mut Map<String, Value>) {
    let mut replace = |field: &str, others: &[&str], own: &str| {
        if let Some(value) = fields.get_mut(field).filter(|v| v.as_str().is_some_and(|v| others.contains(&v)))
        {
            *value = own.into();
        }
    };
    match class {
        "DEISMultistepScheduler" => {
            replace("algorithm_type", &["dpmsolver", "dpmsolver++"], "deis");
            replace("solver_type", &["midpoint", "heun", "bh1", "bh2"], "logrho");
        }
        "UniPCMultistepScheduler" => replace("solver_type", &["midpoint", "heun", "logrho"], "bh2"),
        _ if class.starts_with("DPMSolver") => {
            replace("algorithm_type", &["deis"], "dpmsolver++");
            replace("solver_type", &["logrho", "bh1", "bh2"], "midpoint");
        }
        _ => {}
    }
}
