//! A run that is drawn up step by step, since how far a step may go shows only when it is taken.

use crate::error::{Error, Result};
use crate::lin::REGISTERS;
use crate::program::{Program, Step};
use crate::run::Run;
use crate::samplers::dpm_adaptive::{APART, Aim, BEFORE, FIRST, LOW, PREVIOUS, attempt};

// k-diffusion's numbers, which A1111 and ComfyUI leave as they are (sampling.py, `dpm_solver_adaptive`).
const RELATIVE: f64 = 0.05;
const ABSOLUTE: f64 = 0.0078;
const ACCEPTED: f64 = 0.81;
const ENDS_WITHIN: f64 = 1e-5;

/// Attempts after which a run is given up: those that converge take some dozens.
const MOST: usize = 1000;

/// How far a run is whose steps are as long as the error lets them be: attempts of three evaluations each, between which the
/// host compares what two orders made of the sample, and takes the step or tries a shorter one.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    run: Run,
    /// `-ln sigma` at the run's beginning and end, and where it is.
    way: [f64; 2],
    at: f64,
    /// How far the next attempt goes.
    length: f64,
    attempts: usize,
    taken: usize,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    /// The step is taken: noise times this is to be added to the sample, the draw of this number.
    Taken {
        /// What multiplies the noise; zero where none is added.
        noise: f64,
        /// Which draw it is. One belongs to each step, used or not.
        draw: usize,
    },
    /// The sample is where it was, for a shorter one.
    Refused,
}

impl Adaptive {
    pub(crate) fn new(run: &Run, way: [f64; 2]) -> Adaptive {
        Adaptive { run: run.clone(), way, at: way[0], length: FIRST, attempts: 0, taken: 0 }
    }

    fn aim(&self) -> Aim {
        Aim::of(&self.run, self.at, self.length, self.way[1])
    }

    /// The evaluations of the next attempt; none where the run is done.
    pub fn steps(&self) -> Result<Vec<Step>> {
        if self.at >= self.way[1] - ENDS_WITHIN {
            return Ok(Vec::new());
        }
        if self.attempts >= MOST {
            let why = format!("has found no end in {MOST} attempts: give another sampler");
            return Err(Error::Sampler(format!("sampler dpm_adaptive {why}")));
        }
        Ok(Program::assemble("dpm_adaptive", attempt(&self.run, self.way, &self.aim()))?.steps)
    }

    /// How much of the way is done, 0 to 1, in log sigma.
    pub fn share(&self) -> f64 {
        let [begin, end] = self.way;
        ((self.at - begin) / (end - ENDS_WITHIN - begin)).min(1.0)
    }

    /// Takes the step or puts the sample back: `registers` is what an attempt has left, `[REGISTERS, n]`, of all pictures of a
    /// batch together. What is not finite ends the run.
    ///
    /// The error is the root of the mean square of what the two orders differ by, each over what may be of it
    /// (k-diffusion's step size controller, of which A1111 and ComfyUI use the integral part alone).
    pub fn judge(&mut self, registers: &mut [f32]) -> Attempt {
        let n = registers.len() / REGISTERS;
        let at = |register: usize, i: usize| f64::from(registers[register * n + i]);
        let share =
            |i: usize| at(APART, i) / ABSOLUTE.max(RELATIVE * at(LOW, i).abs().max(at(PREVIOUS, i).abs()));
        let error = ((0..n).map(|i| share(i).powi(2)).sum::<f64>() / n as f64).sqrt();
        let order = if self.run.knobs.eta > 0.0 { 1.5 } else { 3.0 };
        let factor = 1.0 + ((error + 1e-8).powf(-1.0 / order) - 1.0).atan();
        let aim = self.aim();
        self.attempts += 1;
        self.length *= factor;
        if factor < ACCEPTED {
            registers.copy_within(BEFORE * n..(BEFORE + 1) * n, 0);
            return Attempt::Refused;
        }
        registers.copy_within(LOW * n..(LOW + 1) * n, PREVIOUS * n);
        self.at = if error.is_finite() { aim.next } else { self.way[1] };
        self.taken += 1;
        Attempt::Taken { noise: aim.noise * self.run.knobs.s_noise, draw: self.taken - 1 }
    }
}
