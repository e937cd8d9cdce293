//! DPM-Solver (Lu et al. 2022, arXiv 2206.00927) and DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095), multistep,
//! of orders 1 to 3, deterministic or stochastic (diffusers: scheduling_dpmsolver_multistep.py).

use super::Descriptor;
use crate::diffusers::{
    Algorithm, Asked, Class, FinalSigma, Grid, PREDICTIONS, SchedulerConfig, SolverType, Span, edm_draft,
    edm_sigmas, edm_start, sigmas, timesteps,
};
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Sheet, alpha_of, predict};
use crate::run::Run;
use crate::schedule::{Schedule, linspace};
use crate::trained::BetaSchedule;
use calotype_field::Field;

const SOLVER_TYPES: &[(&str, SolverType)] = &[
    ("midpoint", SolverType::Midpoint),
    ("heun", SolverType::Heun),
    ("bh1", SolverType::Midpoint),
    ("bh2", SolverType::Midpoint),
    ("logrho", SolverType::Midpoint),
];

/// See the file's head.
pub static DPM_SOLVER: Descriptor = Descriptor {
    names: &["dpm++2m", "dpm++_2m", "dpmpp_2m", "dpmpp2m", "k_dpmpp_2m"],
    label: "DPM++ 2M",
    schedule: Some("karras"),
    class: Some(Class {
        most_order: 3,
        solver_types: SOLVER_TYPES,
        ..Class::new("DPMSolverMultistepScheduler", FIELDS, program)
    }),
    edm: Some(Class {
        predictions: PREDICTIONS.split_at(2).0,
        most_order: 3,
        solver_types: SOLVER_TYPES,
        ..Class::new("EDMDPMSolverMultistepScheduler", EDM_FIELDS, edm_program)
    }),
    k: Some(|run, sheet| super::dpmpp_2m::solve(run, sheet, false)),
    compvis: Some(compvis),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
    "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": false,
    "solver_order": 2, "solver_type": "midpoint", "lower_order_final": true, "final_sigmas_type": "zero",
    "rescale_betas_zero_snr": false, "thresholding": false, "algorithm_type": "dpmsolver++", "euler_at_final": false,
    "use_lu_lambdas": false, "use_flow_sigmas": false, "lambda_min_clipped": "-Infinity", "variance_type": null
}"#;

const EDM_FIELDS: &str = r#"{
    "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "sigma_schedule": "karras", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "rho": 7.0, "solver_order": 2, "thresholding": false, "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint", "lower_order_final": true, "euler_at_final": false, "final_sigmas_type": "zero"
}"#;

/// Runs shorter than this end with lower orders, where `lower_order_final` says so.
const SHORT_RUN: usize = 15;

/// A sigma in the variance-preserving view, with half the log signal-to-noise ratio, `lambda = log(alpha / sigma)`.
#[derive(Clone, Copy)]
pub(super) struct Level {
    pub alpha: f64,
    pub sigma: f64,
    pub lambda: f64,
}

impl Level {
    pub fn new(ratio: f64) -> Level {
        let alpha = alpha_of(ratio);
        Level { alpha, sigma: ratio * alpha, lambda: -ratio.ln() }
    }

    /// An evaluation there.
    pub fn draft(self, timestep: f64) -> Draft {
        Draft { level: Some([self.alpha, self.sigma]), ..Draft::new(timestep) }
    }
}

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let Asked { steps, begin, .. } = asked;
    let visited = timesteps(config, steps, Grid::Multistep(timesteps_kept(config)))?;
    let run = sigmas(config, visited, steps, Span::Trained);
    let levels: Vec<Level> = run.sigmas.iter().map(|&s| Level::new(f64::from(s))).collect();
    let count = run.timesteps.len();
    let rounds = matches!(config.schedule, Schedule::Karras | Schedule::Lu)
        && config.trained.beta_schedule != BetaSchedule::SquaredCosCapV2;
    let mut drafts = Vec::new();
    for (i, &t) in run.timesteps.iter().enumerate().skip(begin) {
        let here = levels[i];
        let mut step = here.draft(if rounds { t.round_ties_even() } else { t.trunc() });
        let (x0, noise) = predict(config.trained.prediction_type, Lin::X, Lin::M, here.alpha, here.sigma);
        let in_noise = matches!(config.algorithm_type, Algorithm::DpmSolver | Algorithm::SdeDpmSolver);
        let (x0, noise) = held(&mut step, config, (x0, noise), here);
        let outputs = [if in_noise { noise } else { x0 }, Lin::register(1), Lin::register(2)];
        let past = [Some(i), i.checked_sub(1), i.checked_sub(2)].map(|k| k.map(|k| levels[k]));
        let solver = (config.algorithm_type, config.solver_type);
        step.rows[0] = update(solver, order_at(config, (i, begin), count), &outputs, past, levels[i + 1]);
        step.rows[1..3].copy_from_slice(&outputs[..2]);
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}

/// The clean sample held within what a configuration says, and the noise that goes with it.
fn held(step: &mut Draft, config: &SchedulerConfig, (x0, noise): (Lin, Lin), here: Level) -> (Lin, Lin) {
    match config.clip() {
        None => (x0, noise),
        within => {
            let x0 = step.clip(x0, within);
            (x0, (Lin::X - x0 * here.alpha) / here.sigma)
        }
    }
}

/// diffusers: scheduling_edm_dpmsolver_multistep.py, where the sample is not scaled: alpha is 1.
fn edm_program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let (edm, sigmas) = edm_sigmas(config, asked)?;
    let levels: Vec<Level> =
        sigmas.iter().map(|s| Level { alpha: 1.0, sigma: *s, lambda: -s.ln() }).collect();
    let count = sigmas.len() - 1;
    let mut drafts = Vec::new();
    for i in asked.begin..count {
        let mut step = edm_draft(&edm, sigmas[i]);
        let clean = edm.clean(config.trained.prediction_type, Lin::X, Lin::M, sigmas[i]);
        let clean = step.clip(clean, config.clip());
        let outputs = [clean, Lin::register(1), Lin::register(2)];
        let past = [Some(i), i.checked_sub(1), i.checked_sub(2)].map(|k| k.map(|k| levels[k]));
        let solver = (config.algorithm_type, config.solver_type);
        step.rows[0] =
            update(solver, order_at(config, (i, asked.begin), count), &outputs, past, levels[i + 1]);
        step.rows[1..3].copy_from_slice(&outputs[..2]);
        drafts.push(step);
    }
    Ok(Sheet::new(edm_start(&edm), drafts))
}

/// Training timesteps whose lambda is not below `lambda_min_clipped`.
fn timesteps_kept(config: &SchedulerConfig) -> usize {
    let below = |sigma: &f32| -f64::from(*sigma).ln() < config.lambda_min_clipped;
    config.trained.num_train_timesteps - config.trained.sigmas().iter().rev().take_while(|s| below(s)).count()
}

/// Of step `i`, where the first was `begin`.
fn order_at(config: &SchedulerConfig, (i, begin): (usize, usize), count: usize) -> usize {
    let short = config.lower_order_final && count < SHORT_RUN;
    let euler_end = config.euler_at_final || short || config.final_sigmas == FinalSigma::Zero;
    let most = match count - i {
        1 if euler_end => 1,
        2 if short => 2,
        _ => 3,
    };
    config.solver_order.min(i - begin + 1).min(most)
}

/// The sample at `to`, from `outputs` (clean samples, or noises for the algorithms without ++; newest first) at the
/// levels `past`. The weights are those of the second paper's appendix B, with D1 and D2 the divided differences.
fn update(
    (algorithm, solver): (Algorithm, SolverType),
    order: usize,
    outputs: &[Lin; 3],
    past: [Option<Level>; 3],
    to: Level,
) -> Lin {
    let [Some(s0), s1, s2] = past else { return Lin::X };
    let h = to.lambda - s0.lambda;
    let [m0, m1, m2] = *outputs;
    let (mut d1, mut d2) = (Lin::ZERO, Lin::ZERO);
    let mut heun = solver == SolverType::Heun;
    if let (true, Some(s1)) = (order >= 2, s1) {
        let r0 = (s0.lambda - s1.lambda) / h;
        d1 = (m0 - m1) / r0;
        if let (true, Some(s2)) = (order >= 3, s2) {
            let r1 = (s1.lambda - s2.lambda) / h;
            let (d1_0, d1_1) = (d1, (m1 - m2) / r1);
            d1 = d1_0 + (d1_0 - d1_1) * (r0 / (r0 + r1));
            d2 = (d1_0 - d1_1) / (r0 + r1);
            heun = true;
        }
    }
    // How much of the sample is kept, and the weights of the output, its first and its second difference. A weight
    // that divides by h is only formed where it is used: the last step of a run to sigma 0 has h infinite.
    let later = |weight: f64, d: Lin| if d == Lin::ZERO { Lin::ZERO } else { d * weight };
    let fall = (-h).exp_m1();
    let rise = h.exp_m1();
    let fall2 = (-2.0 * h).exp_m1();
    match algorithm {
        Algorithm::DpmSolverPlusPlus => {
            let w1 = if heun { fall / h + 1.0 } else { -0.5 * fall };
            let w2 = (fall + h) / (h * h) - 0.5;
            Lin::X * (to.sigma / s0.sigma) - m0 * (to.alpha * fall) + later(to.alpha * w1, d1)
                - later(to.alpha * w2, d2)
        }
        Algorithm::DpmSolver => {
            let w1 = if heun { rise / h - 1.0 } else { 0.5 * rise };
            let w2 = (rise - h) / (h * h) - 0.5;
            Lin::X * (to.alpha / s0.alpha)
                - m0 * (to.sigma * rise)
                - later(to.sigma * w1, d1)
                - later(to.sigma * w2, d2)
        }
        Algorithm::SdeDpmSolverPlusPlus => {
            let w1 = if heun { fall2 / (2.0 * h) + 1.0 } else { -0.5 * fall2 };
            let w2 = (-fall2 - 2.0 * h) / (4.0 * h * h) - 0.5;
            Lin::X * (to.sigma / s0.sigma * (-h).exp()) - m0 * (to.alpha * fall2)
                + later(to.alpha * w1, d1)
                + later(to.alpha * w2, d2)
                + Lin::N * (to.sigma * (-fall2).sqrt())
        }
        Algorithm::SdeDpmSolver => {
            let w1 = if heun { 2.0 * (rise / h - 1.0) } else { rise };
            Lin::X * (to.alpha / s0.alpha) - m0 * (2.0 * to.sigma * rise) - later(to.sigma * w1, d1)
                + Lin::N * (to.sigma * (2.0 * h).exp_m1().sqrt())
        }
    }
}

/// CompVis' form: DPM-Solver++ of order 2, in even steps of time from the last training timestep to the first
/// (ldm/models/diffusion/dpm_solver/dpm_solver.py and sampler.py). The model is told timesteps with a fraction.
fn compvis(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let steps = run.asked;
    if steps < 2 {
        return Err(Error::Sampler(format!(
            "sampler dpm++2m takes 2 steps or more in dialect compvis: take more, or give {} diffusers",
            Field::Dialect
        )));
    }
    let times = linspace((run.alphas.len() - 1) as f64, 0.0, steps + 1);
    let levels: Vec<Level> = times.iter().map(|t| Level::new(run.sigma_between(*t))).collect();
    for i in 0..steps {
        let here = levels[i];
        let (x0, _) = predict(run.prediction, Lin::X, Lin::M, here.alpha, here.sigma);
        let outputs = [x0, Lin::register(1), Lin::ZERO];
        let past = [Some(here), i.checked_sub(1).map(|k| levels[k]), None];
        let order = if i == 0 || (steps < SHORT_RUN && i + 1 == steps) { 1 } else { 2 };
        let mut step = here.draft(times[i]);
        let solver = (Algorithm::DpmSolverPlusPlus, SolverType::Midpoint);
        step.rows[0] = update(solver, order, &outputs, past, levels[i + 1]);
        step.rows[1] = x0;
        sheet.push(step);
    }
    Ok(())
}
