//! What a `scheduler_config.json` says, with every default filled in.

use crate::program::Clip;
use crate::schedule::Schedule;
use crate::trained::Trained;

/// Which training timesteps a run visits (arXiv 2305.08891, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly, both ends included.
    Linspace,
    /// Every k-th from the first, plus `steps_offset`.
    Leading,
    /// Every k-th from the last.
    Trailing,
}

/// Where a run over sigmas ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalSigma {
    /// At no noise.
    Zero,
    /// At the first training timestep's noise.
    SigmaMin,
}

/// Which exponential integrator DPM-Solver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// In the noise (Lu et al. 2022, arXiv 2206.00927).
    DpmSolver,
    /// In the clean sample (Lu et al. 2022, arXiv 2211.01095).
    DpmSolverPlusPlus,
    /// The stochastic form of the first.
    SdeDpmSolver,
    /// The stochastic form of the second.
    SdeDpmSolverPlusPlus,
}

/// The variant of a multistep solver's higher-order terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SolverType {
    /// DPM-Solver's midpoint form.
    Midpoint,
    /// DPM-Solver's Heun form.
    Heun,
    /// UniPC with B(h) = h.
    Bh1,
    /// UniPC with B(h) = e^h - 1.
    Bh2,
}

/// A scheduler configuration with every default filled in. Fields carry diffusers' names; those that a class
/// does not have keep a neutral value.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// What the model was trained with.
    pub trained: Trained,
    /// Which timesteps a run visits.
    pub timestep_spacing: Spacing,
    /// Added to the timesteps of `leading` spacing.
    pub steps_offset: i64,
    /// Half the interval that the predicted clean sample is clamped to, where `clip_sample` is set.
    pub clip_sample: Option<f64>,
    /// What it is held within where `thresholding` is set, which goes before.
    pub thresholding: Option<Clip>,
    /// Whether the step after the last has no noise left (else: as much as training timestep 0).
    pub set_alpha_to_one: bool,
    /// PNDM: start with a linear multistep warm-up instead of Runge-Kutta.
    pub skip_prk_steps: bool,
    /// Order of a multistep solver.
    pub solver_order: usize,
    /// DPM-Solver's integrator.
    pub algorithm_type: Algorithm,
    /// The solver's variant.
    pub solver_type: SolverType,
    /// Lower the order towards the end of short runs.
    pub lower_order_final: bool,
    /// End with an Euler step.
    pub euler_at_final: bool,
    /// The noise schedule.
    pub schedule: Schedule,
    /// Where the sigmas end.
    pub final_sigmas: FinalSigma,
    /// Smallest sigma of the schedule's formula.
    pub sigma_min: Option<f64>,
    /// Largest sigma of the schedule's formula.
    pub sigma_max: Option<f64>,
    /// DPM-Solver: timesteps whose log signal-to-noise ratio is below this are left out.
    pub lambda_min_clipped: f64,
    /// Euler: sigmas evenly in log between the ends, not at the timesteps (`interpolation_type`).
    pub log_linear_interpolation: bool,
    /// Euler: with v prediction the model is told `log(sigma) / 4` (`timestep_type`).
    pub continuous_timesteps: bool,
    /// UniPC: integrate in the clean sample.
    pub predict_x0: bool,
    /// UniPC: steps after which the corrector is left out.
    pub disable_corrector: Vec<usize>,
    /// LCM, TCD: steps of the schedule it was distilled with.
    pub original_inference_steps: usize,
    /// LCM: timesteps are multiplied by this in the boundary condition.
    pub timestep_scaling: f64,
}

impl SchedulerConfig {
    /// What the clean sample is held within.
    pub fn clip(&self) -> Option<Clip> {
        let fixed = self.clip_sample.map(|range| Clip { range, quantile: None });
        self.thresholding.or(fixed)
    }
}

/// The flags that choose a noise schedule in a file, the one that wins first.
pub(crate) const SCHEDULE_FLAGS: [(&str, Schedule); 4] = [
    ("use_karras_sigmas", Schedule::Karras),
    ("use_lu_lambdas", Schedule::Lu),
    ("use_exponential_sigmas", Schedule::Exponential),
    ("use_beta_sigmas", Schedule::Beta),
];
