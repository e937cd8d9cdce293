//! Models that were trained on sigmas of a range (Karras et al. 2022, arXiv:2206.00364): single files say it by tensors of no
//! component.

use crate::{Error, Result};
use calotype_tensor::Tensors;
use serde_json::{Value, json};

/// What such a file says.
pub struct EdmMarks {
    /// `scheduler/scheduler_config.json`.
    pub scheduler: Value,
    /// Mean and deviation of each channel of the latents.
    latents: Option<[Vec<f32>; 2]>,
}

/// The range of CosXL's sigmas.
const RANGE: [&str; 2] = ["edm_vpred.sigma_min", "edm_vpred.sigma_max"];
/// The mean and the deviation of Playground 2.5's latents.
const LATENTS: [&str; 2] = ["edm_mean", "edm_std"];

impl EdmMarks {
    /// Whether a file's tensors of no component say that it is one.
    pub fn is(marks: &[String]) -> bool {
        Self::is_v(marks) || LATENTS.iter().all(|name| marks.iter().any(|mark| mark == name))
    }

    /// Whether they say that it predicts v, too.
    pub fn is_v(marks: &[String]) -> bool {
        marks.iter().any(|mark| mark == RANGE[1])
    }

    /// What a file says by its tensors of no component, which `marks` names.
    pub async fn of(file: &dyn Tensors, marks: &[String]) -> Result<Option<Self>> {
        if Self::is_v(marks) {
            let most = numbers(file, RANGE[1]).await?.first().copied();
            let least = match marks.iter().any(|mark| mark == RANGE[0]) {
                true => numbers(file, RANGE[0]).await?.first().copied(),
                false => None,
            };
            // CosXL's own, as ComfyUI has them (`V_PREDICTION_EDM` in comfy/supported_models.py, comfy/model_sampling.py).
            let scheduler = json!({
                "_class_name": "EDMEulerScheduler",
                "num_train_timesteps": 1000,
                "prediction_type": "v_prediction",
                "sigma_data": 1.0,
                "sigma_max": most.unwrap_or(120.0),
                "sigma_min": least.unwrap_or(0.002),
                "sigma_schedule": "exponential",
            });
            return Ok(Some(Self { scheduler, latents: None }));
        }
        if !Self::is(marks) {
            return Ok(None);
        }
        let latents = [numbers(file, LATENTS[0]).await?, numbers(file, LATENTS[1]).await?];
        // As in the published folder, and as diffusers reads the file (loaders/single_file_utils.py).
        let scheduler = json!({
            "_class_name": "EDMDPMSolverMultistepScheduler",
            "algorithm_type": "dpmsolver++",
            "euler_at_final": false,
            "final_sigmas_type": "zero",
            "lower_order_final": true,
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "rho": 7.0,
            "sigma_data": 0.5,
            "sigma_max": 80.0,
            "sigma_min": 0.002,
            "solver_order": 2,
            "solver_type": "midpoint",
        });
        Ok(Some(Self { scheduler, latents: Some(latents) }))
    }

    /// What it says of the VAE, in its configuration.
    pub fn tell(&self, vae: &mut Value) {
        if let Some([mean, std]) = &self.latents {
            vae["latents_mean"] = json!(mean);
            vae["latents_std"] = json!(std);
            vae["scaling_factor"] = json!(0.5);
        }
    }
}

/// A tensor's numbers.
async fn numbers(file: &dyn Tensors, name: &str) -> Result<Vec<f32>> {
    let weights = |error: calotype_tensor::Error| Error::Weights(error.into());
    let dtype = file.get(name).map_err(weights)?.dtype;
    Ok(dtype.to_f32(&file.read_all(name).await.map_err(weights)?))
}
