//! Reading one field at a time from a scheduler configuration, with errors that name it.

use super::Sampler;
use super::config::{Prediction, SCHEDULE_FLAGS, Schedule, SolverType};
use crate::error::{Error, Result};
pub(super) use calotype_models::config::truthy;
use serde_json::{Map, Value};

/// Fields that every implemented class has.
const COMMON: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
];

const ZERO_SNR: &[&str] = &["rescale_betas_zero_snr"];
const CLIP: &[&str] = &["clip_sample", "clip_sample_range"];
const SCHEDULES: &[&str] = &["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"];
const MULTISTEP: &[&str] = &["solver_order", "solver_type", "lower_order_final", "final_sigmas_type"];

/// The fields that a class reads beyond [`COMMON`].
fn own_fields(sampler: Sampler) -> Vec<&'static [&'static str]> {
    match sampler {
        Sampler::Ddim => vec![CLIP, ZERO_SNR, &["set_alpha_to_one", "thresholding"]],
        Sampler::Pndm => vec![&["skip_prk_steps", "set_alpha_to_one"]],
        Sampler::DpmSolver => vec![
            SCHEDULES,
            MULTISTEP,
            ZERO_SNR,
            &["thresholding", "algorithm_type", "euler_at_final", "use_lu_lambdas", "use_flow_sigmas"],
            &["lambda_min_clipped", "variance_type"],
        ],
        Sampler::Euler => {
            vec![SCHEDULES, ZERO_SNR, &["interpolation_type", "timestep_type", "final_sigmas_type"]]
        }
        Sampler::EulerAncestral => vec![ZERO_SNR],
        Sampler::Heun => vec![SCHEDULES, CLIP],
        Sampler::Lms => vec![SCHEDULES],
        Sampler::UniPc => vec![
            SCHEDULES,
            MULTISTEP,
            ZERO_SNR,
            &["thresholding", "predict_x0", "disable_corrector", "solver_p", "use_flow_sigmas"],
            &["use_dynamic_shifting", "shift_terminal"],
        ],
        Sampler::Lcm => vec![
            CLIP,
            ZERO_SNR,
            &["thresholding", "set_alpha_to_one", "original_inference_steps", "timestep_scaling"],
        ],
    }
}

/// Fields of diffusers' other scheduler classes, from 0.2 to 0.42, and those of these classes that do nothing by
/// themselves: they say nothing to a class that has not got them.
#[rustfmt::skip]
const FOREIGN: &[&str] = &[
    "alpha_cum_end", "alpha_cum_start", "base_image_seq_len", "base_shift", "beta_max", "beta_min", "clip_denoised",
    "correct_steps", "corrector_order", "dynamic_thresholding_ratio", "eta", "flow_shift", "gamma_cum_end",
    "gamma_cum_start", "invert_sigmas", "masking_schedule", "max_image_seq_len", "max_shift", "noise_sampler_seed",
    "predictor_order", "rho", "s", "s_churn", "s_max", "s_min", "s_noise", "sample_max_value", "sampling_eps",
    "scale_factors", "scaler", "set_alpha_to_zero", "shift", "sigma_data", "sigma_max", "sigma_min", "sigma_schedule",
    "snr", "snr_shift_scale", "stochastic_sampling", "tau_func", "tensor_format", "time_shift_type", "timestep_values",
    "upscale_mode", "variance_type",
];

/// No model was trained with so many timesteps: tables are as long.
const MOST: usize = 1_000_000;

const NOT_LATENT: &str = "not implemented for latent diffusion; remove it";

/// A configuration's fields as its class sees them.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    pub(super) sampler: Sampler,
}

impl<'a> Fields<'a> {
    /// Refuses fields that no class knows and values that none implements.
    pub(super) fn new(sampler: Sampler, map: &'a Map<String, Value>) -> Result<Fields<'a>> {
        let fields = Fields { map, sampler };
        let of_any = |name: &str| Sampler::ALL.into_iter().any(|s| own_fields(s).concat().contains(&name));
        for (name, value) in map {
            let known = COMMON.contains(&name.as_str()) || FOREIGN.contains(&name.as_str()) || of_any(name);
            if name == "predict_epsilon" {
                // Its successor, where there is one, is what counts.
                if value == &Value::Bool(false) && !map.contains_key("prediction_type") {
                    return Err(unsupported(name, value, "write prediction_type, its successor, instead"));
                }
            } else if !known && !name.starts_with('_') && !is_neutral(value) {
                return Err(unsupported(name, value, "no implemented scheduler has this field; remove it"));
            }
        }
        for name in ["thresholding", "use_flow_sigmas", "use_dynamic_shifting", "solver_p"] {
            match fields.get(name) {
                Some(value) if truthy(value) => return Err(unsupported(name, value, NOT_LATENT)),
                _ => {}
            }
        }
        if let Some(value) = fields.get("shift_terminal").filter(|value| !value.is_null()) {
            return Err(unsupported("shift_terminal", value, NOT_LATENT));
        }
        match fields.get("variance_type") {
            Some(value) if value.as_str().is_some_and(|v| v.starts_with("learned")) => {
                Err(unsupported("variance_type", value, "models that predict variances are not supported"))
            }
            _ => Ok(fields),
        }
    }

    /// The field's value, where the class has such a field.
    fn get(&self, name: &str) -> Option<&'a Value> {
        let own = own_fields(self.sampler).iter().any(|group| group.contains(&name));
        // LCM has a spacing of its own.
        let common = COMMON.contains(&name) && (self.sampler, name) != (Sampler::Lcm, "timestep_spacing");
        self.map.get(name).filter(|_| own || common)
    }

    /// A switch, as Python's `if` takes what is written there.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, truthy)
    }

    /// Whether a field, where anything else is passed over, is this word.
    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.get(name).and_then(Value::as_str) == Some(word)
    }

    /// DPM-Solver goes to order 3 and takes what is above for it.
    pub(super) fn solver_order(&self) -> Result<usize> {
        let order = self.count("solver_order", 2, 1)?;
        Ok(if self.sampler == Sampler::DpmSolver { order.min(3) } else { order })
    }

    pub(super) fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| unsupported(name, value, "a finite number was expected"))
    }

    /// A bound, which may be infinite: then there is none.
    pub(super) fn bound(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        to_number(value).ok_or_else(|| unsupported(name, value, "a number was expected"))
    }

    /// A number that may be absent or null, looked up whether or not the class declares it.
    pub(super) fn optional_number(&self, name: &str, applies: bool) -> Result<Option<f64>> {
        match self.map.get(name).filter(|_| applies) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number > 0.0 => Ok(Some(number)),
                _ => Err(unsupported(name, value, "a number above zero was expected")),
            },
        }
    }

    /// Null, which is what old files have for none, is none.
    pub(super) fn steps_offset(&self) -> Result<i64> {
        match self.get("steps_offset") {
            None | Some(Value::Null) => Ok(0),
            Some(value) => {
                value.as_i64().ok_or_else(|| unsupported("steps_offset", value, "an integer was expected"))
            }
        }
    }

    pub(super) fn count(&self, name: &str, default: usize, least: usize) -> Result<usize> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.as_u64().map(|n| n as usize) {
                Some(n) if (least..=MOST).contains(&n) => Ok(n),
                _ => {
                    Err(unsupported(name, value, &format!("an integer from {least} to {MOST} was expected")))
                }
            },
        }
    }

    pub(super) fn counts(&self, name: &str) -> Result<Vec<usize>> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items =
            value.as_array().map(|list| list.iter().map(|v| v.as_u64().map(|n| n as usize)).collect());
        items.flatten().ok_or_else(|| unsupported(name, value, "a list of step numbers was expected"))
    }

    pub(super) fn betas(&self) -> Result<Option<Vec<f32>>> {
        let name = "trained_betas";
        let Some(value) = self.get(name).filter(|v| !v.is_null()) else { return Ok(None) };
        let items = value.as_array().map(|list| list.iter().map(|v| v.as_f64().map(|b| b as f32)).collect());
        let betas: Option<Vec<f32>> = items.flatten();
        betas.map(Some).ok_or_else(|| unsupported(name, value, "a list of numbers was expected"))
    }

    pub(super) fn one_of<T: Copy>(&self, name: &str, default: &str, choices: &[(&str, T)]) -> Result<T> {
        let default = Value::from(default);
        let value = self.get(name).unwrap_or(&default);
        let found = choices.iter().find(|(choice, _)| value.as_str() == Some(choice));
        found.map(|(_, chosen)| *chosen).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            unsupported(name, value, &format!("{} takes {}", self.sampler.class_name(), names.join(", ")))
        })
    }

    /// What the class lets a model predict.
    pub(super) fn predictions(&self) -> &'static [(&'static str, Prediction)] {
        const ALL: [(&str, Prediction); 3] = [
            ("epsilon", Prediction::Epsilon),
            ("v_prediction", Prediction::V),
            ("sample", Prediction::Sample),
        ];
        match self.sampler {
            Sampler::Pndm | Sampler::EulerAncestral => &ALL[..2],
            _ => &ALL,
        }
    }

    /// Either family accepts the other's names, so that one configuration serves both (diffusers maps them).
    pub(super) fn solver_type(&self) -> Result<SolverType> {
        let (midpoint, heun, bh1, bh2, default) = match self.sampler {
            Sampler::UniPc => (SolverType::Bh2, SolverType::Bh2, SolverType::Bh1, SolverType::Bh2, "bh2"),
            _ => (
                SolverType::Midpoint,
                SolverType::Heun,
                SolverType::Midpoint,
                SolverType::Midpoint,
                "midpoint",
            ),
        };
        let logrho = ("logrho", midpoint);
        self.one_of(
            "solver_type",
            default,
            &[("midpoint", midpoint), ("heun", heun), ("bh1", bh1), ("bh2", bh2), logrho],
        )
    }

    /// The formula that is switched on. diffusers adds three of the switches up, so that they have to be numbers; the
    /// fourth comes second where two are on.
    pub(super) fn schedule(&self) -> Result<Schedule> {
        let mut chosen = Vec::new();
        for (name, schedule) in SCHEDULE_FLAGS {
            let value = self.get(name).unwrap_or(&Value::Null);
            let sound = matches!(value, Value::Null | Value::Bool(_) | Value::Number(_));
            if !sound && schedule != Schedule::Lu {
                return Err(unsupported(name, value, "true or false was expected"));
            }
            if truthy(value) {
                let summed = chosen.iter().any(|other| *other != Schedule::Lu);
                if summed && schedule != Schedule::Lu {
                    return Err(unsupported(name, value, "only one noise schedule can be chosen"));
                }
                chosen.push(schedule);
            }
        }
        Ok(chosen.first().copied().unwrap_or_default())
    }
}

/// What [`quote_infinities`] has quoted is a number, no other string.
fn to_number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

/// JSON without the literals `Infinity`, `-Infinity` and `NaN`, which JSON does not have but Python's writer does:
/// diffusers saves DPM-Solver's `lambda_min_clipped` so. They become strings, which [`to_number`] reads.
pub(super) fn quote_infinities(text: &str) -> String {
    let (mut quoted, mut rest, mut in_string) = (String::with_capacity(text.len()), text, false);
    'text: while let Some(next) = rest.chars().next() {
        if !in_string {
            for literal in ["-Infinity", "Infinity", "NaN"] {
                if let Some(after) = rest.strip_prefix(literal) {
                    quoted.extend(["\"", literal, "\""]);
                    rest = after;
                    continue 'text;
                }
            }
        }
        // A quotation mark behind a backslash ends no string.
        let length = if in_string && next == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            next.len_utf8()
        };
        in_string ^= next == '"';
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted
}

fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn unsupported(field: &str, value: &Value, hint: &str) -> Error {
    let mut value = value.to_string();
    if value.len() > 60 {
        value = value.chars().take(57).chain("...".chars()).collect();
    }
    Error::scheduler(field, value, hint)
}
