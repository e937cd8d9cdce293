//! From a file's fields to a configuration: those of the diffusers scheduler classes that are implemented here, and an
//! error for what is not.

use super::class::Class;
use super::config::{Algorithm, FinalSigma, SchedulerConfig, Spacing};
use super::fields::Fields;
use crate::error::{Error, Result};
use crate::program::Clip;
use crate::schedule::Schedule;
use crate::trained::{BetaSchedule, Edm, Trained};
use serde_json::{Map, Value};

impl Class {
    /// What the class makes of a file's fields. Fields that the class does not have say nothing.
    ///
    /// Errors name the field and its value: a field that no class has, a value out of its domain, and what is not
    /// implemented (learned variances, flow matching).
    pub(crate) fn read(&self, fields: &Map<String, Value>, every: &[&Class]) -> Result<SchedulerConfig> {
        let f = Fields::new(self, fields, every)?;
        let schedule = f.schedule()?;
        // diffusers looks two bounds up among all fields, so that they act on classes that do not declare them; only
        // LMS's Karras sigmas do not look, nor does the fourth formula.
        let bounded = match schedule {
            Schedule::Karras => self.karras_bounds,
            Schedule::Exponential | Schedule::Beta => true,
            _ => false,
        };
        let clip_range = if f.flag("clip_sample") { Some(f.number("clip_sample_range")?) } else { None };
        let thresholding = match f.flag("thresholding") {
            true => Some(Clip {
                range: f.stated("sample_max_value", 1.0, 1.0..=f64::MAX)?,
                quantile: Some(f.stated("dynamic_thresholding_ratio", 0.995, 0.0..=1.0)?),
            }),
            false => None,
        };
        let config = SchedulerConfig {
            trained: trained(&f, self)?,
            timestep_spacing: f.one_of(
                "timestep_spacing",
                &[
                    ("linspace", Spacing::Linspace),
                    ("leading", Spacing::Leading),
                    ("trailing", Spacing::Trailing),
                ],
            )?,
            steps_offset: f.steps_offset()?,
            clip_sample: clip_range,
            thresholding,
            set_alpha_to_one: f.flag("set_alpha_to_one"),
            skip_prk_steps: f.flag("skip_prk_steps"),
            solver_order: f.count("solver_order", 1)?.min(self.most_order),
            algorithm_type: f.one_of(
                "algorithm_type",
                &[
                    ("dpmsolver++", Algorithm::DpmSolverPlusPlus),
                    ("dpmsolver", Algorithm::DpmSolver),
                    ("sde-dpmsolver", Algorithm::SdeDpmSolver),
                    ("sde-dpmsolver++", Algorithm::SdeDpmSolverPlusPlus),
                    // Another solver's, which diffusers puts this one's own in the place of.
                    ("deis", Algorithm::DpmSolverPlusPlus),
                ],
            )?,
            solver_type: f.one_of("solver_type", self.solver_types)?,
            lower_order_final: f.flag("lower_order_final"),
            euler_at_final: f.flag("euler_at_final"),
            schedule,
            final_sigmas: f.one_of(
                "final_sigmas_type",
                &[("zero", FinalSigma::Zero), ("sigma_min", FinalSigma::SigmaMin)],
            )?,
            sigma_min: f.optional_number("sigma_min", bounded)?,
            sigma_max: f.optional_number("sigma_max", bounded)?,
            lambda_min_clipped: f.bound("lambda_min_clipped", f64::NEG_INFINITY)?,
            log_linear_interpolation: f
                .one_of("interpolation_type", &[("linear", false), ("log_linear", true)])?,
            continuous_timesteps: f.is("timestep_type", "continuous"),
            predict_x0: f.flag("predict_x0"),
            disable_corrector: f.counts("disable_corrector")?,
            original_inference_steps: f.count("original_inference_steps", 1)?,
            timestep_scaling: f.number("timestep_scaling")?,
        };
        check(&config)?;
        Ok(config)
    }
}

/// What single fields cannot show.
fn check(config: &SchedulerConfig) -> Result<()> {
    let unsupported = |field: &str, value: String, hint: &str| Err(Error::scheduler(field, value, hint));
    if config.solver_order > 4 {
        return unsupported("solver_order", config.solver_order.to_string(), "the highest order is 4");
    }
    let in_noise = matches!(config.algorithm_type, Algorithm::DpmSolver | Algorithm::SdeDpmSolver);
    if in_noise && config.final_sigmas == FinalSigma::Zero {
        return unsupported(
            "final_sigmas_type",
            "\"zero\"".into(),
            "this algorithm_type needs \"sigma_min\"",
        );
    }
    if config.algorithm_type == Algorithm::SdeDpmSolver && config.solver_order == 3 {
        return unsupported("solver_order", "3".into(), "sde-dpmsolver has orders 1 and 2");
    }
    if let Some(betas) = &config.trained.trained_betas
        && betas.len() != config.trained.num_train_timesteps
    {
        let hint = "as many betas as num_train_timesteps were expected";
        return unsupported("trained_betas", format!("{} values", betas.len()), hint);
    }
    Ok(())
}

/// What models that were trained on sigmas of a range say of it.
fn edm(f: &Fields<'_>) -> Result<Option<Edm>> {
    if !f.has("sigma_data") {
        return Ok(None);
    }
    Ok(Some(Edm {
        sigma_min: f.positive("sigma_min")?,
        sigma_max: f.positive("sigma_max")?,
        sigma_data: f.positive("sigma_data")?,
        rho: f.positive("rho")?,
        is_exponential: f.one_of("sigma_schedule", &[("karras", false), ("exponential", true)])?,
    }))
}

/// The first of the three axes.
fn trained(f: &Fields<'_>, class: &Class) -> Result<Trained> {
    const BETAS: &[(&str, BetaSchedule)] = &[
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::SquaredCosCapV2),
        ("exp", BetaSchedule::Exp),
    ];
    Ok(Trained {
        num_train_timesteps: f.count("num_train_timesteps", 2)?,
        beta_start: f.number("beta_start")?,
        beta_end: f.number("beta_end")?,
        beta_schedule: f.one_of("beta_schedule", &BETAS[..if class.exponential_betas { 4 } else { 3 }])?,
        trained_betas: f.betas()?,
        rescale_betas_zero_snr: f.flag("rescale_betas_zero_snr"),
        prediction_type: f.one_of("prediction_type", class.predictions)?,
        edm: edm(f)?,
    })
}
