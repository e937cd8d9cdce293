//! UniPC, a predictor and corrector in one: Zhao et al. 2023, arXiv 2302.04867, algorithms 1 and 2 (diffusers:
//! scheduling_unipc_multistep.py). The corrector of a step costs no evaluation: it uses the next step's.

use super::Descriptor;
use super::dpm_solver::Level;
use crate::dialect::Dialect;
use crate::diffusers::{
    Asked, Class, FinalSigma, Grid, SchedulerConfig, SolverType, Span, sigmas, timesteps,
};
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Clip, Draft, Sheet, predict};
use crate::run::Run;
use crate::schedule::{Schedule, linspace};
use crate::trained::Prediction;

/// See the file's head.
pub static UNIPC: Descriptor = Descriptor {
    names: &["unipc", "uni_pc"],
    label: "UniPC",
    own_sigmas: &[Dialect::K],
    discards_penultimate: &[Dialect::Comfy],
    class: Some(Class {
        solver_types: &[
            ("midpoint", SolverType::Bh2),
            ("heun", SolverType::Bh2),
            ("bh1", SolverType::Bh1),
            ("bh2", SolverType::Bh2),
            ("logrho", SolverType::Bh2),
        ],
        ..Class::new("UniPCMultistepScheduler", FIELDS, program)
    }),
    k: Some(|run, sheet| solve(run, sheet, false)),
    ..Descriptor::NONE
};

/// The same with B(h) = e^h - 1, which ComfyUI has under a name of its own.
pub static UNIPC_BH2: Descriptor = Descriptor {
    names: &["unipc_bh2", "uni_pc_bh2"],
    label: "UniPC bh2",
    class: None,
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..UNIPC
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "solver_order": 2, "solver_type": "bh2", "lower_order_final": true, "final_sigmas_type": "zero",
    "rescale_betas_zero_snr": false, "thresholding": false, "predict_x0": true, "disable_corrector": [], "solver_p": null,
    "use_flow_sigmas": false, "use_dynamic_shifting": false, "shift_terminal": null
}"#;

/// The corrected sample of the step before.
const LAST: usize = 1;
/// The converted outputs, newest first.
const OUTPUTS: usize = 2;

/// What the method goes over, in the variance-preserving view, and its orders.
struct Chain<'a> {
    prediction: Prediction,
    /// One more than the evaluations.
    levels: Vec<Level>,
    /// What the model is told at each.
    times: Vec<f64>,
    most_order: usize,
    lower_order_final: bool,
    predict_x0: bool,
    /// What that is held within.
    clip: Option<Clip>,
    /// Whether B(h) is h, not e^h - 1.
    bh1: bool,
    /// The first step.
    begin: usize,
    /// Steps that are not corrected.
    uncorrected: &'a [usize],
}

impl Chain<'_> {
    fn drafts(&self) -> Vec<Draft> {
        let (count, most) = (self.times.len(), self.most_order);
        let mut order = 0;
        let draft = |(i, &t): (usize, &f64)| {
            let here = self.levels[i];
            let (x0, noise) = predict(self.prediction, Lin::X, Lin::M, here.alpha, here.sigma);
            let mut step = here.draft(t);
            let output = if self.predict_x0 { step.clip(x0, self.clip) } else { noise };
            let old: Vec<Lin> = (0..most).map(|k| Lin::register(OUTPUTS + k)).collect();
            let mut sample = Lin::X;
            if i > self.begin && !self.uncorrected.contains(&(i - 1)) {
                sample = Move { chain: self, at: i - 1, order }.corrected(Lin::register(LAST), &old, output);
            }
            let left = if self.lower_order_final { count - i } else { usize::MAX };
            order = most.min(left).min(i - self.begin + 1);
            let mut outputs = vec![output];
            outputs.extend(&old[..most - 1]);
            step.rows[0] = Move { chain: self, at: i, order }.predicted(sample, &outputs);
            step.rows[LAST] = sample;
            step.rows[OUTPUTS..OUTPUTS + outputs.len()].copy_from_slice(&outputs);
            step
        };
        self.times.iter().enumerate().skip(self.begin).map(draft).collect()
    }
}

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let Asked { steps, begin, .. } = asked;
    let visited = timesteps(config, steps, Grid::Multistep(config.trained.num_train_timesteps))?;
    let mut run = sigmas(config, visited, steps, Span::Trained);
    let count = run.timesteps.len();
    if config.schedule != Schedule::Discrete && config.final_sigmas == FinalSigma::SigmaMin {
        run.sigmas[count] = run.sigmas[count - 1];
    }
    let told = |t: &f64| if config.schedule == Schedule::Karras { t.round_ties_even() } else { t.trunc() };
    let chain = Chain {
        prediction: config.trained.prediction_type,
        levels: run.sigmas.iter().map(|s| Level::new(f64::from(*s))).collect(),
        times: run.timesteps.iter().map(told).collect(),
        most_order: config.solver_order,
        lower_order_final: config.lower_order_final,
        predict_x0: config.predict_x0,
        clip: config.clip(),
        begin,
        bh1: config.solver_type == SolverType::Bh1,
        uncorrected: &config.disable_corrector,
    };
    Ok(Sheet::new(1.0, chain.drafts()))
}

/// A1111's form goes evenly over time, as many steps as its grid of timesteps has, and stops at the first of them
/// (modules/models/diffusion/uni_pc/uni_pc.py). ComfyUI's goes over the schedule's sigmas (extra_samplers/uni_pc.py).
fn solve(run: &Run, sheet: &mut Sheet, bh2: bool) -> Result<()> {
    const MOST_ORDER: usize = 3;
    /// ComfyUI's in the place of zero.
    const LEAST: f64 = 0.001;
    let comfy = run.dialect == Dialect::Comfy;
    let train = run.alphas.len();
    let mut above = None;
    let (sigmas, times): (Vec<f64>, Vec<f64>) = if comfy {
        let sigmas = run.sigmas.iter().map(|s| if *s == 0.0 { LEAST } else { *s }).collect();
        (sigmas, run.sigmas[..run.steps()].iter().map(|s| run.clock.time(*s)).collect())
    } else {
        // From a picture it goes from the highest of the timesteps that are left, as many steps as those are.
        let steps = (0..train).step_by(train / run.asked.clamp(1, train)).count();
        let (first, steps) = match run.begin {
            None => (train - 1, steps),
            Some(_) => {
                let grid = super::ddim::grid(run, "unipc")?;
                let (left, timestep) = super::ddim::kept(run, "unipc", &grid)?;
                above = timestep;
                (left[left.len() - 1], left.len())
            }
        };
        let times = linspace(first as f64, 0.0, steps + 1);
        (times.iter().map(|t| run.sigma_between(*t)).collect(), times[..steps].to_vec())
    };
    let steps = times.len();
    let chain = Chain {
        prediction: run.prediction,
        levels: sigmas.iter().map(|s| Level::new(*s)).collect(),
        times,
        most_order: MOST_ORDER.min(if comfy { steps.saturating_sub(1) } else { steps }).max(1),
        lower_order_final: true,
        predict_x0: true,
        clip: None,
        bh1: !bh2,
        begin: 0,
        uncorrected: &[],
    };
    (sheet.start, sheet.drafts) = (Some(1.0), chain.drafts());
    super::ddim::begin_at(run, sheet, above);
    if let (true, Some(last)) = (comfy, sheet.drafts.last_mut()) {
        sheet.start = sheet.start.map(|_| run.start() * chain.levels[0].alpha);
        last.rows[0] = last.rows[0] / chain.levels[steps].alpha;
    }
    Ok(())
}

/// The move from level `at` to the next, with as many past outputs as its order asks for.
struct Move<'a> {
    chain: &'a Chain<'a>,
    at: usize,
    order: usize,
}

impl Move<'_> {
    /// The step in lambda, negative where the solver integrates in the clean sample.
    fn hh(&self) -> f64 {
        let h = self.chain.levels[self.at + 1].lambda - self.chain.levels[self.at].lambda;
        if self.chain.predict_x0 { -h } else { h }
    }

    /// B(h) of the paper's section 3.1.
    fn scale(&self) -> f64 {
        if self.chain.bh1 { self.hh() } else { self.hh().exp_m1() }
    }

    /// Positions of the past levels, `r_k = (lambda_k - lambda_0) / h`.
    fn positions(&self) -> Vec<f64> {
        let (here, next) = (self.chain.levels[self.at].lambda, self.chain.levels[self.at + 1].lambda);
        (1..self.order).map(|k| (self.chain.levels[self.at - k].lambda - here) / (next - here)).collect()
    }

    /// Weights of the differences: the paper's equation 5 solved for the positions `r`.
    fn weights(&self, r: &[f64]) -> Vec<f64> {
        let hh = self.hh();
        let mut phi = hh.exp_m1() / hh - 1.0;
        let mut factorial = 1.0;
        let mut rows = Vec::new();
        for power in 0..r.len() {
            let mut row: Vec<f64> = r.iter().map(|r| r.powi(power as i32)).collect();
            row.push(phi * factorial / self.scale());
            rows.push(row);
            factorial *= (power + 2) as f64;
            phi = phi / hh - 1.0 / factorial;
        }
        eliminate(rows)
    }

    /// The first-order move, and what weighs the sum of differences.
    fn first_order(&self, sample: Lin, output: Lin) -> (Lin, f64) {
        let (from, to) = (self.chain.levels[self.at], self.chain.levels[self.at + 1]);
        let (kept, gain) = match self.chain.predict_x0 {
            true => (to.sigma / from.sigma, to.alpha),
            false => (to.alpha / from.alpha, to.sigma),
        };
        (sample * kept - output * (gain * self.hh().exp_m1()), gain * self.scale())
    }

    fn differences<'a>(&self, outputs: &'a [Lin], r: &'a [f64]) -> impl Iterator<Item = Lin> + 'a {
        r.iter().enumerate().map(|(k, r)| (outputs[k + 1] - outputs[0]) / *r)
    }

    /// UniP, algorithm 2.
    fn predicted(&self, sample: Lin, outputs: &[Lin]) -> Lin {
        let (moved, gain) = self.first_order(sample, outputs[0]);
        let r = self.positions();
        // Order 2 has one weight, which the paper's appendix sets to 1/2 for either B(h).
        let weights = if self.order == 2 { vec![0.5] } else { self.weights(&r) };
        let sum = self.differences(outputs, &r).zip(weights).fold(Lin::ZERO, |sum, (d, w)| sum + d * w);
        moved - sum * gain
    }

    /// UniC, algorithm 1: the same move again, with the output at its end.
    fn corrected(&self, sample: Lin, outputs: &[Lin], end: Lin) -> Lin {
        let (moved, gain) = self.first_order(sample, outputs[0]);
        let mut r = self.positions();
        let past: Vec<Lin> = self.differences(outputs, &r).collect();
        r.push(1.0);
        let weights = if self.order == 1 { vec![0.5] } else { self.weights(&r) };
        let differences = past.into_iter().chain([end - outputs[0]]);
        let sum = differences.zip(weights).fold(Lin::ZERO, |sum, (d, w)| sum + d * w);
        moved - sum * gain
    }
}

/// Gauss-Jordan elimination with pivoting of an augmented system (of at most four unknowns).
pub(super) fn eliminate(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let pivot_row = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column] / pivot_row[column];
            row.iter_mut().zip(&pivot_row).for_each(|(v, p)| *v -= factor * p);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[n] / row[i]).collect()
}
