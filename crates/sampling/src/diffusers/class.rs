//! What is known of a class by name. Each sampler's file says so of its own.

use super::config::{SchedulerConfig, SolverType};
use crate::error::Result;
use crate::program::Sheet;
use crate::trained::Prediction;
use serde_json::{Map, Value};

/// A scheduler class of diffusers.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// `_class_name` in a `scheduler_config.json`.
    pub name: &'static str,
    /// The fields that it reads, with their defaults: a JSON object.
    pub fields: &'static str,
    /// What it lets a model predict.
    pub predictions: &'static [(&'static str, Prediction)],
    /// The values of `solver_type`: either family accepts the other's names, so that one configuration serves both
    /// (diffusers maps them).
    pub solver_types: &'static [(&'static str, SolverType)],
    /// The highest `solver_order`; what is above is taken for it.
    pub most_order: usize,
    /// Whether betas may be given as `exp`.
    pub exponential_betas: bool,
    /// Whether `sigma_min` and `sigma_max` bound Karras' sigmas.
    pub karras_bounds: bool,
    /// The class's program for what is asked of it.
    pub program: fn(&SchedulerConfig, Asked) -> Result<Sheet>,
}

/// A run that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Its steps.
    pub steps: usize,
    /// How many of them another run has taken: this one begins there, and knows nothing of them.
    pub begin: usize,
    /// Whether those are left out as diffusers' pipelines that begin from a picture do, whose lists of timesteps begin later:
    /// PNDM's and LMS's classes take that amiss.
    pub is_late: bool,
    /// How much of the noise DDIM and TCD draw anew.
    pub eta: f64,
}

/// What classes let a model predict: most of them all three, some the first two.
pub(crate) const PREDICTIONS: [(&str, Prediction); 3] =
    [("epsilon", Prediction::Epsilon), ("v_prediction", Prediction::V), ("sample", Prediction::Sample)];

impl Class {
    /// A class without peculiarities.
    pub(crate) const fn new(
        name: &'static str,
        fields: &'static str,
        program: fn(&SchedulerConfig, Asked) -> Result<Sheet>,
    ) -> Class {
        Class {
            name,
            fields,
            predictions: &PREDICTIONS,
            solver_types: &[("midpoint", SolverType::Midpoint)],
            most_order: usize::MAX,
            exponential_betas: false,
            karras_bounds: true,
            program,
        }
    }

    /// Its fields with their defaults.
    pub(crate) fn defaults(&self) -> Map<String, Value> {
        serde_json::from_str(self.fields).unwrap_or_default()
    }
}
