//! What a model is, where no configuration lies beside its weights: told by the names and shapes of its tensors, and written
//! down as diffusers would, for the same strict reading as a folder's own files ([`crate::config`]).
//!
//! Widths and depths are read, not looked up. What shapes cannot tell is the family's: heads, activations, the prediction.

mod edm;
mod facts;
mod family;
mod place;
mod prediction;
mod said;
mod text;
mod unet;
mod vae;

pub use edm::EdmMarks;
pub use family::Family;
pub use prediction::{Assumed, Predicts, SPEC, prediction, said};
pub use said::Said;

use crate::config::text_class;
use crate::layout::words;
use crate::{Error, Result, Role};
use calotype_tensor::Tensors;
use serde_json::{Value, json};

/// A component's configuration, as diffusers and transformers write it, from its tensors under their names
/// ([`calotype_weights::schemes`]).
///
/// # Errors
/// A tensor without which the component is not one, and shapes that contradict each other.
pub fn config(role: Role, tensors: &dyn Tensors, family: Family, prediction: Predicts) -> Result<Value> {
    let shapes = Shapes { tensors, place: tensors.describe("") };
    match role {
        Role::Text | Role::Text2 => text::config(&shapes, family, role),
        Role::Denoiser => unet::config(&shapes, family, prediction),
        Role::Vae => vae::config(&shapes, family),
    }
}

/// `model_index.json`, of a model with such a scheduler.
pub fn index(family: Family, scheduler: &Value) -> Value {
    let mut index = json!({
        "_class_name": family.pipeline(),
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    });
    if family == Family::Refiner {
        index["requires_aesthetics_score"] = json!(true);
        index["force_zeros_for_empty_prompt"] = json!(false);
    }
    for role in family.texts() {
        index[role.folder()] = json!(["transformers", text_class(*role)]);
        index[words::folder(*role)] = json!(["transformers", "CLIPTokenizer"]);
    }
    index
}

/// `scheduler/scheduler_config.json`: a file says nothing of it, so it has the settings of the published folders, which all
/// say the same.
pub fn scheduler(family: Family, prediction: Predicts, zero_snr: bool) -> Value {
    let class = match family {
        Family::Sdxl | Family::Refiner => "EulerDiscreteScheduler",
        Family::Sd1 | Family::Sd2 if zero_snr => Predicts::V.scheduler(),
        Family::Sd1 | Family::Sd2 => prediction.scheduler(),
    };
    let mut config = json!({
        "_class_name": class,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction.name(),
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        "trained_betas": null,
    });
    if zero_snr {
        config["rescale_betas_zero_snr"] = json!(true);
    }
    if class == "EulerDiscreteScheduler" {
        config["timestep_spacing"] = json!("leading");
        config["interpolation_type"] = json!("linear");
    }
    config
}

/// A component's shapes.
struct Shapes<'a> {
    tensors: &'a dyn Tensors,
    place: String,
}

impl Shapes<'_> {
    /// A tensor's shape, where there is such a tensor.
    fn find(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).ok().map(|info| &info.shape[..])
    }

    /// An axis of a tensor that has to be there.
    fn axis(&self, name: &str, axis: usize) -> Result<usize> {
        let info = self.tensors.get(name).map_err(|error| Error::Weights(error.into()))?;
        let none = || self.wrong(format!("{name} has shape {:?}, too few axes", info.shape));
        info.shape.get(axis).copied().ok_or_else(none)
    }

    /// How many layers there are: `part` says what the n-th has.
    fn count(&self, part: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|i| self.tensors.contains(&part(*i))).count()
    }

    fn wrong(&self, why: String) -> Error {
        Error::Undetected { file: self.place.clone(), why }
    }
}
