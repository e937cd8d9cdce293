//! SA-Solver, a stochastic Adams method with predictor and corrector: Xue et al. 2023, arXiv 2309.05019 (ComfyUI:
//! k_diffusion/sa_solver.py; predictor of order 3, corrector of order 4, noise between the shares 0.2 and 0.8 of time).

use super::Descriptor;
use super::unipc::eliminate;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::{Run, lambda};

/// SA-Solver.
pub static SA_SOLVER: Descriptor = Descriptor {
    names: &["sa_solver", "sasolverscheduler"],
    label: "SA Solver",
    k: Some(|run, sheet| solve(run, sheet, false)),
    ..Descriptor::NONE
};

/// SA-Solver that evaluates the corrected sample too.
pub static SA_SOLVER_PECE: Descriptor = Descriptor {
    names: &["sa_solver_pece"],
    label: "SA Solver PECE",
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..Descriptor::NONE
};

const PREDICTOR: usize = 3;
const CORRECTOR: usize = 4;
/// The corrected sample of the step before.
const LAST: usize = 1;
/// The noise that was added to predict this one.
const NOISE: usize = 2;
/// The clean samples before this evaluation's, newest first.
const CLEAN: usize = 3;

/// One way from `start` to `end`, in lambda.
struct Way {
    start: f64,
    end: f64,
    /// The noise's strength, 0 or 1.
    tau: f64,
}

impl Way {
    fn length(&self) -> f64 {
        self.end - self.start
    }

    /// What the sample is multiplied with.
    fn kept(&self) -> f64 {
        (-self.end).exp() / (-self.start).exp() * (-self.tau * self.tau * self.length()).exp()
    }

    /// The weights of clean samples at `nodes`: those that integrate every polynomial of their degree.
    fn weights(&self, nodes: &[f64]) -> Vec<f64> {
        let rate = 1.0 + self.tau * self.tau;
        let mut integral = 0.0;
        let mut rows = Vec::new();
        for power in 0..nodes.len() as i32 {
            let whole = self.end.powi(power) - self.start.powi(power) * (-rate * self.length()).exp();
            integral = whole - f64::from(power) / rate * integral;
            let mut row: Vec<f64> = nodes.iter().map(|node| node.powi(power)).collect();
            row.push(integral);
            rows.push(row);
        }
        eliminate(rows)
    }

    /// The sample at the end, from `clean` at `nodes`, both newest first.
    fn go(&self, sample: Lin, clean: &[Lin], nodes: &[f64]) -> Lin {
        let weights = self.weights(nodes);
        clean.iter().zip(weights).fold(sample * self.kept(), |sum, (clean, weight)| sum + *clean * weight)
    }
}

fn solve(run: &Run, sheet: &mut Sheet, again: bool) -> Result<()> {
    let (high, low) = (run.at_share(0.2), run.at_share(0.8));
    let tau = |sigma: f64| if (low..=high).contains(&sigma) { 1.0 } else { 0.0 };
    let lambdas: Vec<f64> = run.sigmas.iter().map(|sigma| lambda(*sigma)).collect();
    let steps = run.steps();
    let way = |i: usize| Way { start: lambdas[i], end: lambdas[i + 1], tau: tau(run.sigmas[i + 1]) };
    for i in 0..steps {
        let (sigma, next) = run.pair(i);
        let nodes: Vec<f64> = (0..=i).rev().take(CORRECTOR).map(|k| lambdas[k]).collect();
        let past: Vec<Lin> = (0..CORRECTOR - 1).map(|k| Lin::register(CLEAN + k)).collect();
        let mut step = run.at(sigma);
        let mut clean = vec![run.clean(sigma)];
        clean.extend(&past);
        let mut sample = Lin::X;
        if i > 0 && (again || next > 0.0) {
            let order = CORRECTOR.min(i + 1).min(steps - i);
            sample =
                way(i - 1).go(Lin::register(LAST), &clean[..order], &nodes[..order]) + Lin::register(NOISE);
            if again {
                step.rows[0] = sample;
                step.rows[CLEAN..CLEAN + past.len()].copy_from_slice(&past);
                step.ends_step = false;
                sheet.push(step);
                step = run.at(sigma);
                (sample, clean[0]) = (Lin::X, run.clean(sigma));
            }
        }
        step.rows[0] = clean[0];
        if next > 0.0 {
            let order = PREDICTOR.min(i + 1);
            let order = if run.sigmas[steps] == 0.0 { order.min(steps - 1 - i) } else { order };
            let way = way(i);
            step.rows[0] = way.go(sample, &clean[..order], &nodes[..order]);
            if way.tau > 0.0 {
                let deviation = next * (-(-2.0 * way.length()).exp_m1()).sqrt() * run.knobs.s_noise;
                step.rows[NOISE] = Lin::N * deviation;
                step.add(Draw::Fresh, deviation);
            }
            step.rows[LAST] = sample;
            step.rows[CLEAN..CLEAN + past.len()].copy_from_slice(&clean[..past.len()]);
        }
        sheet.push(step);
    }
    Ok(())
}
