//! `scheduler_config.json`: the fields of the diffusers scheduler classes that are implemented here, with their
//! defaults, and an error for what is not.

use super::Sampler;
use super::fields::Fields;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// How beta, the variance of the noise that a training timestep adds, grows with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Evenly from `beta_start` to `beta_end` (Ho et al. 2020, arXiv 2006.11239).
    Linear,
    /// Its square root does (Rombach et al. 2022, arXiv 2112.10752): Stable Diffusion's.
    ScaledLinear,
    /// From a squared cosine of the cumulative alpha (Nichol and Dhariwal 2021, arXiv 2102.09672).
    SquaredCosCapV2,
    /// From an exponential of it; Heun's class alone accepts it.
    Exp,
}

/// What the model's output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `alpha * noise - sigma * clean` (Salimans and Ho 2022, arXiv 2202.00512).
    V,
}

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

/// The noise schedule: how the sigmas of a run are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// At the visited training timesteps.
    #[default]
    Discrete,
    /// Karras et al. 2022.
    Karras,
    /// Evenly in log sigma.
    Exponential,
    /// Quantiles of a beta distribution (Lee et al. 2024).
    Beta,
    /// Evenly in log sigma over log sigma (Lu et al. 2022); only from a file, as `use_lu_lambdas`.
    Lu,
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(name: &str) -> Result<Schedule> {
        match name.to_ascii_lowercase().as_str() {
            "discrete" | "normal" => Ok(Schedule::Discrete),
            "karras" => Ok(Schedule::Karras),
            "exponential" => Ok(Schedule::Exponential),
            "beta" => Ok(Schedule::Beta),
            _ => Err(Error::Sampler(format!(
                "no scheduler is called \"{name}\": choose discrete, karras, exponential or beta"
            ))),
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Schedule::Discrete => "discrete",
            Schedule::Karras => "karras",
            Schedule::Exponential => "exponential",
            Schedule::Beta => "beta",
            Schedule::Lu => "lu",
        })
    }
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
    /// The sampler.
    pub sampler: Sampler,
    /// Timesteps the model was trained with.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// How betas run between the two.
    pub beta_schedule: BetaSchedule,
    /// Betas given one by one, in place of the three above.
    pub trained_betas: Option<Vec<f32>>,
    /// Whether the last timestep is made pure noise.
    pub rescale_betas_zero_snr: bool,
    /// What the model predicts.
    pub prediction_type: Prediction,
    /// Which timesteps a run visits.
    pub timestep_spacing: Spacing,
    /// Added to the timesteps of `leading` spacing.
    pub steps_offset: i64,
    /// Half the interval that the predicted clean sample is clamped to, where `clip_sample` is set.
    pub clip_sample: Option<f64>,
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
    /// LCM: steps of the schedule it was distilled with.
    pub original_inference_steps: usize,
    /// LCM: timesteps are multiplied by this in the boundary condition.
    pub timestep_scaling: f64,
}

impl SchedulerConfig {
    /// What the class of a sampler makes of a file's fields. Fields that the class does not have say nothing.
    ///
    /// Errors name the field and its value: a field that no class has, a value out of its domain, and what is not
    /// implemented (dynamic thresholding, learned variances, flow matching).
    pub(super) fn of(sampler: Sampler, fields: &Map<String, Value>) -> Result<SchedulerConfig> {
        let f = Fields::new(sampler, fields)?;
        let schedule = f.schedule()?;
        // diffusers looks two bounds up among all fields, so that they act on classes that do not declare them; only
        // LMS's Karras sigmas do not look, nor does the fourth formula.
        let bounded = match schedule {
            Schedule::Karras => sampler != Sampler::Lms,
            Schedule::Exponential | Schedule::Beta => true,
            Schedule::Discrete | Schedule::Lu => false,
        };
        let leading_by_default = matches!(sampler, Sampler::Ddim | Sampler::Pndm | Sampler::Lcm);
        let newer_betas = matches!(sampler, Sampler::Heun | Sampler::Lcm);
        let clips = f.flag("clip_sample", sampler == Sampler::Ddim);
        let clip_range = if clips { f.number("clip_sample_range", 1.0)? } else { 1.0 };
        let config = SchedulerConfig {
            sampler,
            num_train_timesteps: f.count("num_train_timesteps", 1000, 2)?,
            beta_start: f.number("beta_start", if newer_betas { 0.00085 } else { 0.0001 })?,
            beta_end: f.number("beta_end", if newer_betas { 0.012 } else { 0.02 })?,
            beta_schedule: f.one_of(
                "beta_schedule",
                if sampler == Sampler::Lcm { "scaled_linear" } else { "linear" },
                &[
                    ("linear", BetaSchedule::Linear),
                    ("scaled_linear", BetaSchedule::ScaledLinear),
                    ("squaredcos_cap_v2", BetaSchedule::SquaredCosCapV2),
                    ("exp", BetaSchedule::Exp),
                ][..if sampler == Sampler::Heun { 4 } else { 3 }],
            )?,
            trained_betas: f.betas()?,
            rescale_betas_zero_snr: f.flag("rescale_betas_zero_snr", false),
            prediction_type: f.one_of("prediction_type", "epsilon", f.predictions())?,
            timestep_spacing: f.one_of(
                "timestep_spacing",
                if leading_by_default { "leading" } else { "linspace" },
                &[
                    ("linspace", Spacing::Linspace),
                    ("leading", Spacing::Leading),
                    ("trailing", Spacing::Trailing),
                ],
            )?,
            steps_offset: f.steps_offset()?,
            clip_sample: clips.then_some(clip_range),
            set_alpha_to_one: f.flag("set_alpha_to_one", sampler != Sampler::Pndm),
            skip_prk_steps: f.flag("skip_prk_steps", false),
            solver_order: f.solver_order()?,
            algorithm_type: f.one_of(
                "algorithm_type",
                "dpmsolver++",
                &[
                    ("dpmsolver", Algorithm::DpmSolver),
                    ("dpmsolver++", Algorithm::DpmSolverPlusPlus),
                    ("sde-dpmsolver", Algorithm::SdeDpmSolver),
                    ("sde-dpmsolver++", Algorithm::SdeDpmSolverPlusPlus),
                    // Another solver's, which diffusers puts this one's own in the place of.
                    ("deis", Algorithm::DpmSolverPlusPlus),
                ],
            )?,
            solver_type: f.solver_type()?,
            lower_order_final: f.flag("lower_order_final", true),
            euler_at_final: f.flag("euler_at_final", false),
            schedule,
            final_sigmas: f.one_of(
                "final_sigmas_type",
                "zero",
                &[("zero", FinalSigma::Zero), ("sigma_min", FinalSigma::SigmaMin)],
            )?,
            sigma_min: f.optional_number("sigma_min", bounded)?,
            sigma_max: f.optional_number("sigma_max", bounded)?,
            lambda_min_clipped: f.bound("lambda_min_clipped", f64::NEG_INFINITY)?,
            log_linear_interpolation: f.one_of(
                "interpolation_type",
                "linear",
                &[("linear", false), ("log_linear", true)],
            )?,
            continuous_timesteps: f.is("timestep_type", "continuous"),
            predict_x0: f.flag("predict_x0", true),
            disable_corrector: f.counts("disable_corrector")?,
            original_inference_steps: f.count("original_inference_steps", 50, 1)?,
            timestep_scaling: f.number("timestep_scaling", 10.0)?,
        };
        config.check()?;
        Ok(config)
    }

    /// What single fields cannot show.
    fn check(&self) -> Result<()> {
        let unsupported = |field: &str, value: String, hint: &str| Err(Error::scheduler(field, value, hint));
        if self.solver_order > 4 {
            return unsupported("solver_order", self.solver_order.to_string(), "the highest order is 4");
        }
        let in_noise = matches!(self.algorithm_type, Algorithm::DpmSolver | Algorithm::SdeDpmSolver);
        if in_noise && self.final_sigmas == FinalSigma::Zero {
            return unsupported(
                "final_sigmas_type",
                "\"zero\"".into(),
                "this algorithm_type needs \"sigma_min\"",
            );
        }
        if self.algorithm_type == Algorithm::SdeDpmSolver && self.solver_order == 3 {
            return unsupported("solver_order", "3".into(), "sde-dpmsolver has orders 1 and 2");
        }
        if let Some(betas) = &self.trained_betas
            && betas.len() != self.num_train_timesteps
        {
            let hint = "as many betas as num_train_timesteps were expected";
            return unsupported("trained_betas", format!("{} values", betas.len()), hint);
        }
        Ok(())
    }
}

/// The flags that choose a noise schedule in a file, the one that wins first.
pub(super) const SCHEDULE_FLAGS: [(&str, Schedule); 4] = [
    ("use_karras_sigmas", Schedule::Karras),
    ("use_lu_lambdas", Schedule::Lu),
    ("use_exponential_sigmas", Schedule::Exponential),
    ("use_beta_sigmas", Schedule::Beta),
];
