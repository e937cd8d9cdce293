//! An executor held against another, op by op: what tells a driver that errs from one that does not.

use crate::{Case, error, run_case};
use calotype_graph::lower::Tier;
use calotype_graph::{Executor, Precision};
use calotype_tensor::{DType, HostTensor};
use std::collections::HashMap;

/// What kernels of packed halves refuse, in words that tell the way out.
pub const REFUSAL: &str = "f32 or a device with shader-f16";

/// One thing, held against the reference.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The case's or the stage's name.
    pub name: String,
    /// The shape of the result.
    pub shape: String,
    /// How activations were stored.
    pub precision: Precision,
    /// How far it is from the reference ([`error`]).
    pub error: f64,
    /// How far it may be.
    pub bound: f64,
    /// Why there is no result, where there is none; the error then means nothing.
    pub problem: Option<String>,
}

impl Compared {
    /// Whether the device is wrong here.
    pub fn departs(&self) -> bool {
        // No number is wrong too.
        self.problem.is_some() || self.error.is_nan() || self.error > self.bound
    }
}

/// What is taken for right, each case run once.
pub struct Oracle<'a> {
    executor: &'a dyn Executor,
    known: HashMap<String, Vec<HostTensor>>,
}

impl<'a> Oracle<'a> {
    /// An executor that is trusted.
    pub fn new(executor: &'a dyn Executor) -> Self {
        Self { executor, known: HashMap::new() }
    }

    /// Holds a case on a device against this; none where the device says that it cannot run it. Inputs are such as f16
    /// holds, so the f32 result is the reference of both precisions.
    ///
    /// # Errors
    /// Where the oracle itself fails.
    pub fn hold(
        &mut self,
        device: &dyn Executor,
        case: &Case,
        precision: Precision,
    ) -> Result<Option<Compared>, calotype_graph::Error> {
        if !self.known.contains_key(&case.name) {
            let found = run_case(self.executor, case, Precision::F32)?;
            self.known.insert(case.name.clone(), found);
        }
        let expected = &self.known[&case.name];
        let packed = !device.caps().f16 && (precision == Precision::F16 || case.weights == DType::F16);
        let held = |error, problem| {
            let shapes: Vec<String> = expected.iter().map(|t| t.shape().to_string()).collect();
            let (name, shape) = (case.name.clone(), shapes.join(", "));
            Compared { name, shape, precision, error, bound: case.tolerance.at(precision), problem }
        };
        Ok(match run_case(device, case, precision) {
            Ok(found) if found.len() == expected.len() => {
                let errors: Vec<f64> = found.iter().zip(expected).map(|(a, b)| error(a, b)).collect();
                Some(held(errors.into_iter().fold(0.0, worse), None))
            }
            Ok(found) => Some(held(f64::NAN, Some(format!("{} results", found.len())))),
            Err(e) if packed && e.to_string().contains(REFUSAL) => None,
            Err(e) => Some(held(f64::NAN, Some(e.to_string()))),
        })
    }
}

/// The larger, and no number where either is none.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Whether a tier computes a case in a way of its own; what it leaves to the tiers below is held there.
pub fn in_its_own_way(tier: Tier, case: &Case) -> bool {
    match tier {
        Tier::Plain | Tier::F16 => true,
        Tier::Subgroups => ["layer_norm", "group_norm", "sampler_step"].contains(&case.stem()),
        Tier::Coop => ["matmul", "conv2d", "attention", "fused"].contains(&case.stem()),
    }
}
