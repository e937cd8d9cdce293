//! From a sampler's symbolic steps to the program that executors run.

use crate::error::{Error, Result};
use crate::lin::{BASIS, Lin, NOISE, REGISTERS};
use crate::trained::Prediction;
use calotype_field::Field;

/// `c = clamp(row · basis, -range, range)`, elementwise: the prediction of the clean sample of a configuration
/// with `clip_sample`, or with `thresholding`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    /// Coefficients over the old registers and the model outputs; zero at [`CLAMPED`](crate::CLAMPED) and [`NOISE`].
    pub row: [f32; BASIS],
    /// Half the width of the interval.
    pub range: f32,
    /// Where it is what this quantile of an image's magnitudes is, from 1 up to `range`; c is divided by it then.
    pub quantile: Option<f32>,
}

/// What a configuration holds the clean sample within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Half the width of the interval, or the most that it may be.
    pub range: f64,
    /// Which quantile of an image's magnitudes it is, at least 1, where it hangs on them (Saharia et al. 2022,
    /// arXiv 2205.11487, section 2.3; diffusers' `_threshold_sample`).
    pub quantile: Option<f64>,
}

/// One evaluation of the model and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The timestep that the model is told, `0.0..=num_train_timesteps - 1`; fractional for some schedules.
    pub timestep: f32,
    /// The model sees `register 0 * input_scale`.
    pub input_scale: f32,
    /// What multiplies the clean picture and unit noise to give the sample that the step takes, where that is known.
    pub level: Option<[f32; 2]>,
    /// The step's clamp, for configurations with `clip_sample`.
    pub clamp: Option<Clamp>,
    /// New registers as rows over the basis, all computed from the old ones at once.
    pub rows: [[f32; BASIS]; REGISTERS],
    /// Which noise (counted in the order of use) [`NOISE`] stands for.
    pub noise: Option<usize>,
    /// Whether one of the user's steps ends here: Heun and PNDM's Runge-Kutta start evaluate the model more
    /// than once a step.
    pub ends_step: bool,
}

/// A sampler for one configuration, number of steps and eta.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The starting sample is unit noise times this.
    pub init_noise_sigma: f32,
    /// What multiplies the first draw of this run's own, which is then added to the starting sample.
    pub first_noise: f32,
    /// Evaluations of the model, in order.
    pub steps: Vec<Step>,
    /// Noises that are drawn beyond the starting one, in order.
    pub draws: Vec<Drawn>,
    /// How many of them the run drew that this one goes on from.
    pub drawn: usize,
    /// Evaluations of the run that this one goes on from.
    pub before: usize,
    /// Evaluations of a run that goes on from this one.
    pub rest: usize,
    /// How many of them steps use.
    pub noises: usize,
    /// The smallest and the largest sigma of the run, between which Brownian paths run.
    pub span: [f64; 2],
    /// What multiplies the guidance that the user asks for.
    pub guidance: f64,
    /// Where steps are as long as the error lets them be, `-ln sigma` at the run's beginning and end: `steps` is the first
    /// attempt at one.
    pub adapts: Option<[f64; 2]>,
}

/// Where a noise comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// The generator's next.
    Fresh,
    /// What a Brownian path gains between two sigmas, scaled to unit variance.
    Brownian {
        /// The sigma that a step begins at.
        from: f64,
        /// The sigma that it is drawn for.
        to: f64,
    },
}

/// A noise of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Where it comes from.
    pub draw: Draw,
    /// Whether a step uses it: some peers draw more than they use, and what they draw next depends on it.
    pub used: bool,
}

/// An evaluation as a sampler writes it down.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What the model is told.
    pub timestep: f64,
    /// What the model sees is register 0 times this.
    pub input_scale: f64,
    /// What multiplies the clean picture and unit noise to give the sample that it takes, where that is known.
    pub level: Option<[f64; 2]>,
    /// New registers; those left at zero are forgotten.
    pub rows: [Lin; REGISTERS],
    /// Whether a step ends here.
    pub ends_step: bool,
    /// What is drawn here, whether or not it is used.
    pub draw: Option<Draw>,
    pub(crate) clamp: Option<(Lin, Clip)>,
}

impl Draft {
    /// An evaluation that leaves nothing behind so far.
    pub fn new(timestep: f64) -> Draft {
        let rows = [Lin::ZERO; REGISTERS];
        Draft { timestep, input_scale: 1.0, level: None, rows, ends_step: true, draw: None, clamp: None }
    }

    /// The same at a cumulative alpha, of a sample of unit variance.
    pub(crate) fn at_alpha(timestep: f64, a: f64) -> Draft {
        Draft { level: Some([a.sqrt(), (1.0 - a).sqrt()]), ..Draft::new(timestep) }
    }

    /// Adds noise to the new sample.
    pub fn add(&mut self, draw: Draw, weight: f64) {
        self.rows[0] = self.rows[0] + Lin::N * weight;
        self.draw = Some(draw);
    }

    /// `x0`, held within what is said, if anything.
    pub fn clip(&mut self, x0: Lin, within: Option<Clip>) -> Lin {
        match within {
            None => x0,
            Some(within) => {
                self.clamp = Some((x0, within));
                Lin::C
            }
        }
    }
}

/// `alpha = 1 / sqrt(sigma^2 + 1)`: what scales a variance-exploding sample to unit variance.
pub(crate) fn alpha_of(sigma: f64) -> f64 {
    1.0 / (sigma * sigma + 1.0).sqrt()
}

/// The clean sample and the noise in `x = alpha * x0 + sigma * noise`, as far as model output `m` tells.
pub(crate) fn predict(prediction: Prediction, x: Lin, m: Lin, alpha: f64, sigma: f64) -> (Lin, Lin) {
    match prediction {
        Prediction::Epsilon => ((x - m * sigma) / alpha, m),
        Prediction::Sample => (m, (x - m * alpha) / sigma),
        Prediction::V => (x * alpha - m * sigma, m * alpha + x * sigma),
    }
}

/// A run as a sampler writes it down.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// What multiplies unit noise to give the starting sample, where it is not what the run's first sigma asks for.
    pub start: Option<f64>,
    /// What multiplies the first draw, which is then added to the starting sample.
    pub first_noise: Option<f64>,
    /// What multiplies the guidance that the user asks for.
    pub guidance: f64,
    /// Its evaluations.
    pub drafts: Vec<Draft>,
    /// Where they are the first attempt at a step, `-ln sigma` at the run's beginning and end. All registers are kept then.
    pub adapts: Option<[f64; 2]>,
}

impl Default for Sheet {
    fn default() -> Sheet {
        Sheet { start: None, first_noise: None, guidance: 1.0, drafts: Vec::new(), adapts: None }
    }
}

impl Sheet {
    /// A run from unit noise times `start`.
    pub fn new(start: f64, drafts: Vec<Draft>) -> Sheet {
        Sheet { start: Some(start), drafts, ..Sheet::default() }
    }

    /// How many steps begin at a timestep of at least `cutoff`, before one begins below it.
    pub(crate) fn steps_from(&self, cutoff: f64) -> usize {
        let begins = |i: &usize| *i == 0 || self.drafts[i - 1].ends_step;
        let firsts = (0..self.drafts.len()).filter(begins);
        firsts.take_while(|i| self.drafts[*i].timestep >= cutoff).count()
    }

    /// The run in two: its first steps, and what comes after them, the first of whose steps may ask for what came before.
    pub(crate) fn cut(mut self, steps: usize) -> [Sheet; 2] {
        let mut ended = 0;
        let before = |draft: &&Draft| {
            let before = ended < steps;
            ended += usize::from(draft.ends_step);
            before
        };
        let after = self.drafts.split_off(self.drafts.iter().take_while(before).count());
        let after = Sheet { drafts: after, first_noise: None, ..self.clone() };
        [self, after]
    }

    /// Whether the first step asks for what came before it.
    pub(crate) fn remembers(&self) -> bool {
        let Some(first) = self.drafts.first() else { return false };
        let read = first.rows.iter().chain(first.clamp.as_ref().map(|(row, _)| row));
        read.into_iter().any(|row| row.row()[1..REGISTERS].iter().any(|c| *c != 0.0))
    }

    /// The next evaluation.
    pub fn push(&mut self, step: Draft) {
        self.drafts.push(step);
    }

    /// Adds noise to the sample as it is now, after the last evaluation or at the start.
    pub fn stir(&mut self, weight: f64) {
        match self.drafts.last_mut() {
            None => self.first_noise = Some(weight),
            Some(last) => last.add(Draw::Fresh, weight),
        }
    }
}

impl Program {
    /// Steps as users count them: some take several evaluations.
    pub fn count(&self) -> usize {
        self.steps.iter().filter(|step| step.ends_step).count()
    }

    /// Whether the clean sample is held within what hangs on its own magnitudes.
    pub fn is_bounded(&self) -> bool {
        self.steps.iter().any(|step| step.clamp.as_ref().is_some_and(|clamp| clamp.quantile.is_some()))
    }

    /// Numbers the noises, forgets what is never read again, and checks that every coefficient is finite.
    pub(crate) fn assemble(sampler: &str, sheet: Sheet) -> Result<Program> {
        let Sheet { start, first_noise, guidance, drafts, adapts } = sheet;
        let mut live = [adapts.is_some(); REGISTERS];
        live[0] = true;
        let mut steps = Vec::with_capacity(drafts.len());
        let mut draws = Vec::new();
        for draft in drafts.into_iter().rev() {
            let mut rows = [[0.0; BASIS]; REGISTERS];
            for (r, row) in draft.rows.iter().enumerate().filter(|(r, _)| live[*r]) {
                rows[r] = row.row();
            }
            let clamp = draft.clamp.map(|(row, Clip { range, quantile })| Clamp {
                row: row.row(),
                range: range as f32,
                quantile: quantile.map(|share| share as f32),
            });
            let mut read: Vec<&[f32; BASIS]> = rows.iter().collect();
            read.extend(clamp.as_ref().map(|c| &c.row));
            if read.iter().any(|row| row.iter().any(|v| !v.is_finite())) {
                return Err(Error::Sampler(format!(
                    "sampler {sampler} cannot run this scheduler configuration: it divides by zero at timestep {} \
                     (with zero terminal SNR the model must predict v or the sample); choose another {}",
                    draft.timestep,
                    Field::Sampler
                )));
            }
            live = std::array::from_fn(|r| r == 0 || read.iter().any(|row| row[r] != 0.0));
            // Which noise is settled below.
            let used = rows.iter().any(|row| row[NOISE] != 0.0);
            draws.extend(draft.draw.or(used.then_some(Draw::Fresh)).map(|draw| Drawn { draw, used }));
            let (timestep, input_scale) = (draft.timestep as f32, draft.input_scale as f32);
            let noise = used.then_some(0);
            let level = draft.level.map(|level| level.map(|c| c as f32));
            steps.push(Step { timestep, input_scale, level, clamp, rows, noise, ends_step: draft.ends_step });
        }
        draws.extend(first_noise.map(|_| Drawn { draw: Draw::Fresh, used: false }));
        draws.reverse();
        steps.reverse();
        let mut noises = 0;
        for noise in steps.iter_mut().filter_map(|step| step.noise.as_mut()) {
            *noise = noises;
            noises += 1;
        }
        let init_noise_sigma = start.unwrap_or(1.0) as f32;
        let first_noise = first_noise.unwrap_or(0.0) as f32;
        Ok(Program {
            init_noise_sigma,
            first_noise,
            steps,
            draws,
            drawn: 0,
            before: 0,
            rest: 0,
            noises,
            span: [0.0; 2],
            guidance,
            adapts,
        })
    }

    /// The same run where it goes on from another, which has drawn noise before it.
    pub(crate) fn after(self, first: &Program) -> Program {
        let theirs = first.draws.iter().map(|drawn| Drawn { used: false, ..*drawn });
        let draws: Vec<Drawn> = theirs.chain(self.draws).collect();
        Program { drawn: first.draws.len(), before: first.steps.len(), draws, ..self }
    }

    /// How many registers the program touches, `1..=REGISTERS`: what the loop must allocate.
    pub fn registers(&self) -> usize {
        let written = |r: usize| self.steps.iter().any(|s| s.rows[r].iter().any(|&v| v != 0.0));
        (1..REGISTERS).rev().find(|&r| written(r)).map_or(1, |r| r + 1)
    }
}
