//! From a mask to what a run keeps of the picture that it begins from (diffusers: `StableDiffusionInpaintPipeline`; A1111:
//! modules/processing.py, `StableDiffusionProcessingImg2Img`).

use crate::error::{Error, Result};
use crate::image::{Mask, Resize};
use crate::init::StepRule;
use crate::inpaint::Inpaint;
use crate::order::Order;
use crate::request::Request;
use calotype_field::Field;
use calotype_graph::ops::{KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, StepRow};
use calotype_sampling::{Chosen, Keeps};

impl Request {
    /// The most pixels by which a mask is softened.
    pub const MOST_BLUR: f64 = 256.0;

    /// Refuses what no mask could honour.
    pub(crate) fn check_mask(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        let (field, init) = (Field::Mask, Field::InitImg);
        let Some(mask) = &self.mask else {
            let is_said = self.mask_blur.is_some();
            let why = format!("is about a mask: give {field}");
            return if is_said { bad(Field::MaskBlur, why) } else { Ok(()) };
        };
        let Some(picture) = &self.init_img else {
            return bad(field, format!("says what of a picture is drawn anew: give {init}"));
        };
        let (own, theirs) = ([mask.width, mask.height], [picture.width, picture.height]);
        if own != theirs {
            let ([w, h], [width, height]) = (own, theirs);
            return bad(field, format!("is {w}x{h}, and {init} {width}x{height}: give one of the same size"));
        }
        if mask.is_black() {
            return bad(field, "is black all over: make white what is to be drawn anew".into());
        }
        let most = Self::MOST_BLUR;
        match self.mask_blur.filter(|blur| !(0.0..=most).contains(blur)) {
            Some(blur) => bad(Field::MaskBlur, format!("{blur} is not between 0 and {most} pixels")),
            None => Ok(()),
        }
    }

    /// What an order of a size draws anew, where a mask says it.
    pub(crate) fn inpaint(&self, chosen: &Chosen, [height, width]: [usize; 2]) -> Result<Option<Inpaint>> {
        let Some(mask) = &self.mask else { return Ok(None) };
        let rule = self.img2img_steps;
        let blur = self.mask_blur.unwrap_or(rule.blur());
        let mask = mask.blurred(blur);
        let fits = [mask.height, mask.width] == [height, width];
        let mask = if fits { mask } else { fitted(&mask, [height, width], self.resize)? };
        let (sees, keeps) = chosen.keeps(rule.keeping())?;
        Ok(Some(Inpaint { mask, blur, inside: rule == StepRule::A1111, sees, keeps }))
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn fitted(mask: &Mask, [height, width]: [usize; 2], how: Resize) -> Result<Mask> {
    mask.resized(width, height, how)
}

/// Browsers resize pictures themselves.
#[cfg(target_arch = "wasm32")]
fn fitted(mask: &Mask, [height, width]: [usize; 2], _: Resize) -> Result<Mask> {
    let why = format!("{} is {}x{}: give it as {width}x{height}", Field::Mask, mask.width, mask.height);
    Err(Error::request(Field::Mask, why))
}

/// A1111's mask for latents: smaller by a cubic filter, and rounded.
#[cfg(not(target_arch = "wasm32"))]
fn kept_smoothly(mask: &Mask, factor: usize) -> Result<Vec<f32>> {
    let small = mask.shrunk(factor)?;
    Ok(small.values.into_iter().map(|value| if value < 128 { 1.0 } else { 0.0 }).collect())
}

#[cfg(target_arch = "wasm32")]
fn kept_smoothly(mask: &Mask, factor: usize) -> Result<Vec<f32>> {
    Ok(mask.kept(factor))
}

/// What a run keeps, as its steps need it.
pub(crate) struct Kept {
    sees: bool,
    keeps: Vec<Keeps>,
    /// How much is kept at each place, the picture's latents and the noise that is added to them, `[B, h, w, C]` each.
    pub tensors: [Vec<f32>; 3],
    /// Which of the run's noise tensors is the first of them.
    pub first: usize,
}

impl Kept {
    /// What an order keeps of a picture's latents, `[1 or B, h, w, C]`, by a noise, `[B, h, w, C]`.
    pub fn of(
        order: &Order,
        (picture, noise): (&[f32], &[f32]),
        [channels, height, _]: [usize; 3],
    ) -> Result<Option<Self>> {
        let Some((inpaint, init)) = order.init.as_ref().and_then(|init| Some((init.inpaint.as_ref()?, init)))
        else {
            return Ok(None);
        };
        let factor = order.height / height;
        let kept = match init.rule {
            StepRule::Diffusers => inpaint.mask.kept(factor),
            StepRule::A1111 => kept_smoothly(&inpaint.mask, factor)?,
        };
        let kept: Vec<f32> = kept.into_iter().flat_map(|share| vec![share; channels]).collect();
        let images = |values: &[f32]| values.iter().copied().cycle().take(noise.len()).collect();
        let tensors = [images(&kept), images(picture), noise.to_vec()];
        let (sees, keeps) = (inpaint.sees, inpaint.keeps.clone());
        Ok(Some(Self { sees, keeps, tensors, first: order.program.noises }))
    }

    /// A row of the step table with what its evaluation keeps.
    pub fn row(&self, evaluation: usize, row: StepRow) -> StepRow {
        let keeps = self.keeps[evaluation];
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        let ([a, b], [c, d]) = (keeps.output.unwrap_or_default(), keeps.sample.unwrap_or_default());
        StepRow {
            kept_by: [a, b, c, d],
            keeps: bit(keeps.output.is_some(), KEEPS_OUTPUT)
                | bit(keeps.sample.is_some(), KEEPS_SAMPLE)
                | bit(keeps.input, KEEPS_INPUT),
            kept: self.first as u32,
            ..row
        }
    }

    /// Blends what an evaluation is to see with the picture, where such are blended.
    pub fn show(&self, evaluation: usize, seen: &mut [f32]) {
        let before = evaluation.checked_sub(1).map(|before| self.keeps[before].input);
        if before.unwrap_or(self.sees) {
            let [share, picture, _] = &self.tensors;
            for ((seen, share), picture) in seen.iter_mut().zip(share).zip(picture) {
                *seen = *seen * (1.0 - share) + picture * share;
            }
        }
    }
}
