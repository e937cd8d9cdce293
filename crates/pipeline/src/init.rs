//! What a run begins from, where that is a picture: Meng et al. 2021, arXiv:2108.01073 (diffusers:
//! `StableDiffusionImg2ImgPipeline`).

use crate::error::{Error, Result};
use crate::image::{Picture, Resize};
use crate::inpaint::Inpaint;
use calotype_field::Field;
use calotype_sampling::KeepRule;
use calotype_tensor::HostTensor;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// By whose rule the steps are counted of a run that begins from a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepRule {
    /// The whole number below steps times strength, all of them at 1.
    #[default]
    Diffusers,
    /// One more than that, but at 1 (modules/sd_samplers_common.py, `setup_img2img_steps`).
    A1111,
}

impl StepRule {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::A1111 => "a1111",
        }
    }

    /// By how many pixels masks are softened where nothing is said.
    pub(crate) fn blur(self) -> f64 {
        match self {
            Self::Diffusers => 0.0,
            Self::A1111 => 4.0,
        }
    }

    pub(crate) const fn keeping(self) -> KeepRule {
        match self {
            Self::Diffusers => KeepRule::Diffusers,
            Self::A1111 => KeepRule::A1111,
        }
    }

    /// How many steps are left out at the beginning.
    pub fn left_out(self, steps: usize, strength: f64) -> usize {
        let taken = match self {
            Self::Diffusers => (steps as f64 * strength) as usize,
            Self::A1111 => (strength.min(0.999) * steps as f64) as usize + 1,
        };
        steps.saturating_sub(taken)
    }
}

impl FromStr for StepRule {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = [Self::Diffusers, Self::A1111].into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| "use diffusers or a1111".into())
    }
}

impl fmt::Display for StepRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an order begins from.
#[derive(Clone, Debug)]
pub struct InitPicture {
    /// The picture, or the part of it that is drawn, of the order's size.
    pub picture: Arc<Picture>,
    /// How much of it is drawn anew, 0 to 1.
    pub strength: f64,
    /// By whose rule steps are counted.
    pub rule: StepRule,
    /// How it was made to fit.
    pub resize: Resize,
    /// Noise for the encoder's sample, `[1 or B, C, h, w]`; its mean is taken where there is none.
    pub vae_noise: Option<HostTensor>,
    /// What of it is drawn anew, where that is not all.
    pub inpaint: Option<Inpaint>,
    /// How far to follow it, where the model is told it.
    pub edits: Option<f32>,
}

/// What a run begins from, as latents, `[1 or B, C, h, w]` f32.
#[derive(Clone)]
pub(crate) struct Beginning {
    /// The picture's.
    pub picture: HostTensor,
    /// What the model is told of it, where it is: the latents of what a mask leaves, or the picture's own, unscaled.
    pub told: Option<HostTensor>,
}

impl InitPicture {
    /// Whether diffusers begins from noise alone: where a mask keeps the rest, or the model is told the picture besides.
    pub(crate) fn is_noise(&self) -> bool {
        let knows = self.inpaint.is_some() || self.edits.is_some();
        knows && self.rule == StepRule::Diffusers && self.strength == 1.0
    }

    /// What is joined to a batch's latents, `[B, h, w, …]`, of what the model is told, `[1 or B, h, w, C]`.
    pub(crate) fn joined(
        &self,
        told: &[f32],
        [batch, image]: [usize; 2],
        [channels, factor]: [usize; 2],
    ) -> Vec<f32> {
        match self.inpaint.as_ref().filter(|inpaint| inpaint.is_told) {
            Some(inpaint) => inpaint.joined(told, batch, channels, factor),
            None => told.iter().copied().cycle().take(batch * image).collect(),
        }
    }

    /// How many of a run's steps are left out.
    pub(crate) fn left_out(&self, steps: usize) -> Result<usize> {
        let out = self.rule.left_out(steps, self.strength);
        if out < steps {
            return Ok(out);
        }
        let (strength, field) = (self.strength, Field::Strength);
        let why =
            format!("{field} {strength} leaves none of {steps} steps: give more, or more {}", Field::Steps);
        Err(Error::request(field, why))
    }
}
