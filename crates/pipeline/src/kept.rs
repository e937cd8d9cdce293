//! What is kept, as a run's steps need it.

use crate::error::Result;
use crate::image::Mask;
use crate::init::StepRule;
use crate::inpaint::{Inpaint, InpaintFill};
use crate::order::Order;
use calotype_graph::ops::{KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, StepRow};
use calotype_sampling::Keeps;

/// What a run keeps.
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
        let Some((inpaint, init)) = order.inpaint().zip(order.init.as_ref()) else { return Ok(None) };
        let share = inpaint.share(init.rule, order.height / height)?;
        let share: Vec<f32> = share.into_iter().flat_map(|share| vec![share; channels]).collect();
        let images =
            |values: &[f32]| -> Vec<f32> { values.iter().copied().cycle().take(noise.len()).collect() };
        let (share, mut picture) = (images(&share), images(picture));
        if matches!(inpaint.fill, InpaintFill::Noise | InpaintFill::Nothing) {
            let anew = |noise: f32| if inpaint.fill == InpaintFill::Noise { noise } else { 0.0 };
            for ((own, share), noise) in picture.iter_mut().zip(&share).zip(noise) {
                *own = *own * share + anew(*noise) * (1.0 - share);
            }
        }
        let (sees, keeps) = (inpaint.sees, inpaint.keeps.clone());
        Ok(Some(Self { sees, keeps, tensors: [share, picture, noise.to_vec()], first: order.program.noises }))
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

impl Inpaint {
    /// How much is kept of each place of latents that are so many times smaller.
    fn share(&self, rule: StepRule, factor: usize) -> Result<Vec<f32>> {
        if rule == StepRule::Diffusers && !self.soft {
            return Ok(self.mask.kept(factor));
        }
        let share = |value: u8| match self.soft {
            true => 1.0 - f32::from(value) / 255.0,
            false if value < 128 => 1.0,
            false => 0.0,
        };
        Ok(shrunk(&self.mask, factor)?.values.into_iter().map(share).collect())
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn shrunk(mask: &Mask, factor: usize) -> Result<Mask> {
    mask.shrunk(factor)
}

/// Browsers have no filter of PIL's: the mean is near to it.
#[cfg(target_arch = "wasm32")]
fn shrunk(mask: &Mask, factor: usize) -> Result<Mask> {
    let [width, height] = [mask.width, mask.height].map(|side| side / factor);
    let mean = |i: usize| {
        let (x, y) = (i % width * factor, i / width * factor);
        let row = |y: usize| {
            mask.values[y * mask.width + x..][..factor].iter().map(|value| u32::from(*value)).sum::<u32>()
        };
        ((y..y + factor).map(row).sum::<u32>() / (factor * factor) as u32) as u8
    };
    Ok(Mask { width, height, values: (0..width * height).map(mean).collect() })
}
