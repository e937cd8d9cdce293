use super::{EdmMarks, Family, facts};
use crate::Result;
use calotype_tensor::Tensors;

/// What a UNet predicts (`prediction_type` of diffusers' schedulers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicts {
    /// The noise.
    Epsilon,
    /// The velocity (Salimans and Ho 2022, arXiv:2202.00512).
    V,
    /// The picture.
    Sample,
}

impl Predicts {
    /// All of them, by the names that `--prediction` takes.
    pub const ALL: [(&str, Self); 3] = [("eps", Self::Epsilon), ("v", Self::V), ("sample", Self::Sample)];

    /// diffusers' name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v_prediction",
            Self::Sample => "sample",
        }
    }

    /// What trainers call it ([`SPEC`]).
    pub const fn spec(self) -> &'static str {
        match self {
            Self::V => "v",
            other => other.name(),
        }
    }

    /// The scheduler of the published folder.
    pub const fn scheduler(self) -> &'static str {
        match self {
            Self::Epsilon => "PNDMScheduler",
            Self::V | Self::Sample => "DDIMScheduler",
        }
    }
}

/// A prediction that was decided without the file's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// By what it was decided.
    pub why: String,
    /// What it would be otherwise.
    pub otherwise: Predicts,
}

/// The metadata in which trainers say what they trained (Stability-AI/ModelSpec).
pub const SPEC: &str = "modelspec.prediction_type";

/// Where Stable Diffusion 2's weights were trained on towards v, this deviation of one of its norms' biases is larger
/// (ComfyUI, `comfy/supported_models.py`).
const DEVIATION: f32 = 0.09;

/// What a file itself says that its UNet predicts. `marks` are the names of the file's tensors that are of no component.
pub fn said(unet: &dyn Tensors, marks: &[String]) -> Option<Predicts> {
    if marks.iter().any(|name| name == "v_pred") || EdmMarks::is_v(marks) {
        return Some(Predicts::V);
    }
    match unet.metadata(SPEC)? {
        "v" | "v_prediction" => Some(Predicts::V),
        "epsilon" | "eps" => Some(Predicts::Epsilon),
        "sample" => Some(Predicts::Sample),
        _ => None,
    }
}

/// What a file's UNet predicts, and how that was decided where the file does not say. `marks` are the names of the file's
/// tensors that are of no component.
pub async fn prediction(
    unet: &dyn Tensors,
    family: Family,
    marks: &[String],
) -> Result<(Predicts, Option<Assumed>)> {
    if let Some(said) = said(unet, marks) {
        return Ok((said, None));
    }
    let of_family = (Predicts::Epsilon, None);
    if family != Family::Sd2 || unet.get("conv_in.weight").is_ok_and(|info| info.shape.get(1) != Some(&4)) {
        return Ok(of_family);
    }
    let Some(bias) = facts::last_norm_bias(unet) else { return Ok(of_family) };
    let deviation = deviation(unet, &bias).await?;
    let [name, otherwise] = match deviation > DEVIATION {
        true => [Predicts::V, Predicts::Epsilon],
        false => [Predicts::Epsilon, Predicts::V],
    };
    let why = format!("the deviation of {bias} is {deviation:.3}, and above {DEVIATION} it is v");
    Ok((name, Some(Assumed { why, otherwise })))
}

/// The standard deviation of a tensor's numbers.
async fn deviation(tensors: &dyn Tensors, name: &str) -> Result<f32> {
    let weights = |error: calotype_tensor::Error| crate::Error::Weights(error.into());
    let dtype = tensors.get(name).map_err(weights)?.dtype;
    let numbers = dtype.to_f32(&tensors.read_all(name).await.map_err(weights)?);
    let count = numbers.len() as f32;
    let mean = numbers.iter().sum::<f32>() / count;
    Ok((numbers.iter().map(|n| (n - mean).powi(2)).sum::<f32>() / count).sqrt())
}
