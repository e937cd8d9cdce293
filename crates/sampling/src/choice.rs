//! From what is wished for to a program, by whoever's rules.

use crate::adaptive::Adaptive;
use crate::dialect::Dialect;
use crate::diffusers::Asked;
use crate::error::{Error, Result};
use crate::levels::{falling, levels};
use crate::program::{Program, Sheet};
use crate::run::{Knobs, Method, Run};
use crate::samplers::Sampler;
use crate::schedule::Schedule;
use crate::scheduler::SchedulerFile;
use crate::trained::{Edm, Prediction, Trained};
use calotype_field::Field;

/// How a run is to be drawn; what is left open the model's file settles, or the dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplerChoice {
    /// The sampler; the model's own where there is none.
    pub sampler: Option<Sampler>,
    /// The noise schedule; the sampler's own where there is none.
    pub schedule: Option<Schedule>,
    /// Whose rules; diffusers' where it has all that is asked for, else A1111's.
    pub dialect: Option<Dialect>,
    /// How much noise is drawn anew; the sampler's own where there is none.
    pub eta: Option<f64>,
    /// Multiplies noise that is drawn on the way: k-diffusion's `s_noise`.
    pub s_noise: Option<f64>,
    /// How far noise is turned up: k-diffusion's `s_churn`.
    pub s_churn: Option<f64>,
    /// The least sigma at which it is.
    pub s_tmin: Option<f64>,
    /// The largest sigma at which it is.
    pub s_tmax: Option<f64>,
    /// The noise levels one by one, falling; zero is added at the end.
    pub sigmas: Option<Vec<f64>>,
    /// The timesteps one by one, falling, in their place.
    pub timesteps: Option<Vec<f64>>,
    /// Whether the model is SDXL or the like, for which schedules that were searched for are others.
    pub xl: bool,
}

/// Which of a run's steps are taken. At a share of the training timesteps, counted from the noise, a second model goes on
/// with what the first has made, and remembers nothing of its steps. A step is the model's in whose part it begins
/// (diffusers: `denoising_end` and `denoising_start`, which cut Heun's steps, begin
/// PNDM anew one timestep too late, and give LMS weights for a history that it has not).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// All of them.
    Whole,
    /// Those of the first model.
    Until(f64),
    /// Those of the second.
    From(f64),
    /// All but so many of the first: those of a run that begins from a picture.
    After(usize),
}

/// A run as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The sampler.
    pub sampler: Sampler,
    /// The noise schedule, where the sampler does not choose its levels itself.
    pub schedule: Option<Schedule>,
    /// Whose rules.
    pub dialect: Dialect,
    /// What the model predicts.
    pub prediction: Prediction,
    /// How it is preconditioned, where it was trained on sigmas of a range.
    pub edm: Option<Edm>,
    /// What it does.
    pub program: Program,
    /// What draws up its steps one after the other, where they are as long as the error lets them be.
    pub adaptive: Option<Adaptive>,
}

impl SamplerChoice {
    /// What only the dialects over sigmas have.
    fn by_hand(&self) -> bool {
        let knobs = [self.s_noise, self.s_churn, self.s_tmin, self.s_tmax];
        knobs.iter().any(Option::is_some) || self.listed().is_some()
    }

    /// Noise levels or timesteps one by one, where there are.
    pub fn listed(&self) -> Option<&Vec<f64>> {
        self.sigmas.as_ref().or(self.timesteps.as_ref())
    }

    /// Whether diffusers' class of a sampler has not what is asked for: Euler's ancestral one alone goes over sigmas, but has
    /// neither schedules nor a share of noise. A sampler that is diffusers' alone has no other.
    fn beyond_class(&self, sampler: Sampler) -> bool {
        let of = sampler.descriptor();
        let plain = of.own_sigmas.is_empty() && !sampler.has_schedules();
        let asked = self.eta.is_some() || self.schedule.is_some_and(|s| s != Schedule::Discrete);
        of.class.is_none() || (plain && asked && of.k.is_some())
    }

    /// Whose rules, where nothing is said: diffusers' where it has all that is asked for, else A1111's.
    fn dialect(&self) -> Dialect {
        let foreign = self.sampler.is_some_and(|sampler| self.beyond_class(sampler))
            || self.schedule.is_some_and(|schedule| !schedule.is_diffusers());
        self.dialect.unwrap_or(if foreign || self.by_hand() { Dialect::K } else { Dialect::Diffusers })
    }

    /// Errors where a dialect cannot set numbers that are given.
    fn check_numbers(&self, dialect: Dialect) -> Result<()> {
        if !self.by_hand() {
            return Ok(());
        }
        let fields =
            [Field::Sigmas, Field::Timesteps, Field::SNoise, Field::SChurn, Field::STmin, Field::STmax];
        let fields = fields.map(|field| field.to_string()).join(", ");
        Err(Error::Sampler(format!(
            "dialect {dialect} has no {fields}: leave them out, or give {} k",
            Field::Dialect
        )))
    }

    /// The sampler as asked, or the model's own where the dialect has it, else DDIM, which all have; and its program.
    fn sampler_in(&self, file: &SchedulerFile, dialect: Dialect) -> Result<(Sampler, Method)> {
        let there = |sampler: Sampler| sampler.descriptor().method(dialect);
        let sampler = match self.sampler {
            Some(sampler) => sampler,
            None => Some(file.nearest()?).filter(|own| there(*own).is_some()).unwrap_or(Sampler::DDIM),
        };
        let method = there(sampler).ok_or_else(|| {
            Error::Sampler(format!(
                "sampler {sampler} is none of dialect {dialect}: choose one of {}, or leave {} out",
                Sampler::listed(|sampler| there(sampler).is_some()),
                Field::Dialect
            ))
        })?;
        Ok((sampler, method))
    }

    /// The program for a model and a number of steps, which noise levels by hand overrule.
    ///
    /// Errors where the sampler, in this dialect, has not what is asked for.
    pub fn settle(&self, file: &SchedulerFile, steps: usize) -> Result<Chosen> {
        self.settle_stretch(file, steps, Stretch::Whole)
    }

    /// The same for a part of the steps.
    pub fn settle_stretch(&self, file: &SchedulerFile, steps: usize, stretch: Stretch) -> Result<Chosen> {
        match self.dialect() {
            Dialect::Diffusers => self.by_class(file, steps, stretch),
            dialect => self.over_sigmas(file, steps, dialect, stretch),
        }
    }

    fn by_class(&self, file: &SchedulerFile, steps: usize, stretch: Stretch) -> Result<Chosen> {
        self.check_numbers(Dialect::Diffusers)?;
        let scheduler = match (self.sampler, self.schedule) {
            (None, None) => file.own()?,
            (sampler, schedule) => file.with_sampler(sampler, schedule)?,
        };
        let sampler = scheduler.sampler;
        let eta = self.eta.unwrap_or(sampler.descriptor().eta);
        let is_late = matches!(stretch, Stretch::After(_));
        let sheet = |begin| scheduler.sheet(Asked { steps, begin, is_late, eta });
        let train = scheduler.config.trained.num_train_timesteps;
        let program = stretched(sampler, (stretch, train), sheet).map_err(|error| file.named(error))?;
        let chooses = sampler.has_schedules() && scheduler.config.trained.edm.is_none();
        let schedule = chooses.then_some(scheduler.config.schedule);
        let Trained { prediction_type: prediction, edm, .. } = scheduler.config.trained;
        let dialect = Dialect::Diffusers;
        Ok(Chosen { sampler, schedule, dialect, prediction, edm, program, adaptive: None })
    }

    fn over_sigmas(
        &self,
        file: &SchedulerFile,
        steps: usize,
        dialect: Dialect,
        stretch: Stretch,
    ) -> Result<Chosen> {
        if dialect.is_fixed() {
            self.check_numbers(dialect)?;
        }
        let (sampler, method) = self.sampler_in(file, dialect)?;
        let descriptor = sampler.descriptor();
        // The fields that say what a model was trained with are the same in all classes.
        let scheduler = file.own().or_else(|_| file.with_sampler(Some(Sampler::EULER), None))?;
        if scheduler.config.trained.edm.is_some() {
            return Err(Error::Sampler(format!(
                "this model was trained on sigmas of a range (EDM), which is not drawn with in dialect {dialect}: give {} \
                 diffusers, and leave out what it has not",
                Field::Dialect
            )));
        }
        let mut run = Run {
            asked: steps,
            knobs: self.knobs(if dialect == Dialect::Comfy { descriptor.comfy_eta } else { descriptor.eta }),
            ..Run::new(&scheduler.config.trained, dialect)
        };
        let own = descriptor.chooses_levels(dialect);
        if own && (self.schedule.is_some() || self.listed().is_some()) {
            return Err(Error::Sampler(format!(
                "sampler {sampler} chooses its noise levels itself: leave out {}, {} and {}, or give another {}",
                Field::Schedule,
                Field::Sigmas,
                Field::Timesteps,
                Field::Sampler
            )));
        }
        let by_default = match dialect {
            Dialect::Comfy if !own => Schedule::Simple,
            _ => descriptor.schedule.map_or(Ok(Schedule::Discrete), str::parse)?,
        };
        let schedule = self.schedule.unwrap_or(by_default);
        if !dialect.is_fixed() {
            let discards = descriptor.discards_penultimate.contains(&dialect);
            run.sigmas = self.levels(&run, schedule, steps, discards)?;
        }
        let is_late = matches!(stretch, Stretch::After(_));
        let sheet = |begin: usize| {
            let mut run = run.clone();
            let by_grid = [Sampler::DDIM, Sampler::DDIM_CFG_PP, Sampler::PNDM, Sampler::DPM_ADAPTIVE]
                .contains(&sampler)
                || dialect == Dialect::K && [Sampler::UNIPC, Sampler::UNIPC_BH2].contains(&sampler);
            run.begin = (is_late && by_grid && own && dialect != Dialect::Comfy).then_some(begin);
            let begin = begin - run.begin.unwrap_or(0);
            // A sampler that chooses its levels itself cannot be given the later ones alone.
            let taken = if own || dialect.is_fixed() { 0 } else { begin };
            run.sigmas.drain(..taken);
            let mut sheet = Sheet::default();
            method(&run, &mut sheet)?;
            sheet.start = sheet.start.or(Some(run.start()));
            // Noise that is turned up before the first step is added to that.
            if let (false, Some(first), Some(sigma)) = (own, sheet.drafts.first_mut(), run.sigmas.first()) {
                first.level = first.level.map(|level| if level[0] == 1.0 { [1.0, *sigma] } else { level });
            }
            let [_, rest] = if taken < begin { sheet.cut(begin) } else { [Sheet::default(), sheet] };
            match taken < begin && rest.remembers() {
                false => Ok(rest),
                true => Err(Error::Sampler(format!(
                    "sampler {sampler} goes on from its own steps alone in dialect {dialect}: to go on from others', or from a \
                     picture, give another {}",
                    Field::Sampler
                ))),
            }
        };
        let train = scheduler.config.trained.num_train_timesteps;
        let mut program = stretched(sampler, (stretch, train), sheet)?;
        let noisy = || run.sigmas.iter().copied().filter(|sigma| *sigma > 0.0);
        let most = noisy().fold(0.0, f64::max);
        program.span = [noisy().fold(most, f64::min), most];
        let by_hand = self.listed().is_some();
        let adaptive = program.adapts.map(|way| Adaptive::new(&run, way));
        let schedule = (!own && !by_hand).then_some(schedule);
        Ok(Chosen { sampler, schedule, dialect, prediction: run.prediction, edm: None, program, adaptive })
    }

    fn knobs(&self, eta: f64) -> Knobs {
        let Knobs { s_noise, s_churn, s_tmin, s_tmax, .. } = Knobs::default();
        Knobs {
            eta: self.eta.unwrap_or(eta),
            s_noise: self.s_noise.unwrap_or(s_noise),
            s_churn: self.s_churn.unwrap_or(s_churn),
            s_tmin: self.s_tmin.unwrap_or(s_tmin),
            // A1111's zero is no bound.
            s_tmax: self.s_tmax.filter(|sigma| *sigma > 0.0).unwrap_or(s_tmax),
        }
    }

    fn levels(&self, run: &Run, schedule: Schedule, steps: usize, discards: bool) -> Result<Vec<f64>> {
        let given = match (&self.sigmas, &self.timesteps) {
            (Some(sigmas), _) => Some((Field::Sigmas, sigmas.clone())),
            (_, Some(times)) => Some((Field::Timesteps, times.iter().map(|t| run.clock.sigma(*t)).collect())),
            _ => None,
        };
        let last = run.clock.logs.len() - 1;
        if let Some(beyond) = self.timesteps.iter().flatten().find(|t| !(0.0..=last as f64).contains(*t)) {
            return Err(Error::Sampler(format!(
                "{} {beyond} is not one of the model's, 0 to {last}",
                Field::Timesteps
            )));
        }
        if let Some((field, mut sigmas)) = given {
            if sigmas.last().is_some_and(|sigma| *sigma > 0.0) {
                sigmas.push(0.0);
            }
            return falling(sigmas).ok_or_else(|| {
                Error::Sampler(format!("{field} takes falling numbers of zero or more, one or several"))
            });
        }
        let mut sigmas = levels((schedule, self.xl), run.dialect, &run.clock, steps + usize::from(discards))?;
        if discards && sigmas.len() > 2 {
            sigmas.remove(sigmas.len() - 2);
        }
        Ok(sigmas)
    }
}

/// The program of a part of a run, which `sheet` writes down from any of its steps on.
fn stretched(
    sampler: Sampler,
    (stretch, train): (Stretch, usize),
    sheet: impl Fn(usize) -> Result<Sheet>,
) -> Result<Program> {
    let assemble = |sheet| Program::assemble(sampler.name(), sheet);
    if let Stretch::After(begin) = stretch {
        return assemble(sheet(begin)?);
    }
    let whole = sheet(0)?;
    let (Stretch::Until(share) | Stretch::From(share)) = stretch else { return assemble(whole) };
    if whole.adapts.is_some() {
        return Err(Error::Sampler(format!(
            "sampler {sampler} has no steps to part before it takes them: give another {}, or no {}",
            Field::Sampler,
            Field::Refiner
        )));
    }
    let train = train as f64;
    let first = whole.steps_from((train - share * train).round_ties_even());
    let [before, after] = whole.cut(first);
    if before.drafts.is_empty() || after.drafts.is_empty() {
        let which = if after.drafts.is_empty() { "second" } else { "first" };
        return Err(Error::Sampler(format!(
            "{} leaves the {which} model none of the steps: give another, or more {}",
            Field::RefinerSwitch,
            Field::Steps
        )));
    }
    match stretch {
        Stretch::From(_) => Ok(assemble(sheet(first)?)?.after(&assemble(before)?)),
        _ => Ok(Program { rest: after.drafts.len(), ..assemble(before)? }),
    }
}
