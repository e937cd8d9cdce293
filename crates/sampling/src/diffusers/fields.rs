//! Reading one field at a time from a scheduler configuration, with errors that name it.

use super::class::Class;
use super::config::SCHEDULE_FLAGS;
use super::json::truthy;
use crate::error::{Error, Result};
use crate::schedule::Schedule;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

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
    /// The class's own, with their defaults.
    own: Map<String, Value>,
    class: &'static str,
}

impl<'a> Fields<'a> {
    /// Refuses fields that none of `every` class knows and values that none implements.
    pub(super) fn new(class: &Class, map: &'a Map<String, Value>, every: &[&Class]) -> Result<Fields<'a>> {
        let fields = Fields { map, own: class.defaults(), class: class.name };
        let every: Vec<Map<String, Value>> = every.iter().map(|class| class.defaults()).collect();
        let of_any = |name: &str| every.iter().any(|own| own.contains_key(name));
        for (name, value) in map {
            let known = FOREIGN.contains(&name.as_str()) || of_any(name);
            if name == "predict_epsilon" {
                // Its successor, where there is one, is what counts.
                if value == &Value::Bool(false) && !map.contains_key("prediction_type") {
                    return Err(unsupported(name, value, "write prediction_type, its successor, instead"));
                }
            } else if !known && !name.starts_with('_') && !is_neutral(value) {
                return Err(unsupported(name, value, "no implemented scheduler has this field; remove it"));
            }
        }
        for name in ["use_flow_sigmas", "use_dynamic_shifting", "solver_p"] {
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

    /// The field's value, or its default, where the class has such a field.
    fn get(&self, name: &str) -> Option<&Value> {
        let default = self.own.get(name)?;
        Some(self.map.get(name).unwrap_or(default))
    }

    /// Whether the class has such a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    /// A number above zero.
    pub(super) fn positive(&self, name: &str) -> Result<f64> {
        let number = self.number(name)?;
        let wrong = || unsupported(name, &self.map[name], "a number above zero was expected");
        if number > 0.0 { Ok(number) } else { Err(wrong()) }
    }

    /// A switch, as Python's `if` takes what is written there.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(truthy)
    }

    /// Whether a field, where anything else is passed over, is this word.
    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.get(name).and_then(Value::as_str) == Some(word)
    }

    /// A number, zero where the class has none of the name.
    pub(super) fn number(&self, name: &str) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(0.0) };
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

    /// A number that every class that asks for it has, with its default, within a range.
    pub(super) fn stated(&self, name: &str, default: f64, within: RangeInclusive<f64>) -> Result<f64> {
        let Some(value) = self.map.get(name) else { return Ok(default) };
        let number = value.as_f64().filter(|number| within.contains(number));
        number.ok_or_else(|| {
            let [least, most] = [within.start(), within.end()];
            unsupported(name, value, &format!("a number from {least} to {most} was expected"))
        })
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

    /// A count, the least where the class has none of the name.
    pub(super) fn count(&self, name: &str, least: usize) -> Result<usize> {
        match self.get(name) {
            None => Ok(least),
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

    /// One of the values that a field may have, the first where the class has none of the name.
    pub(super) fn one_of<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T> {
        let Some(value) = self.get(name) else { return Ok(choices[0].1) };
        let found = choices.iter().find(|(choice, _)| value.as_str() == Some(choice));
        found.map(|(_, chosen)| *chosen).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            unsupported(name, value, &format!("{} takes {}", self.class, names.join(", ")))
        })
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
