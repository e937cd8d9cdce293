//! What no run could honour, and what a model cannot.

use crate::error::{Error, Result};
use crate::guidance::Guidance;
use crate::model::Model;
use crate::request::Request;
use calotype_field::Field;
use calotype_models::config::Block;

impl Request {
    /// Refuses a side that is too long.
    pub(crate) fn check_side(pixels: usize, field: Field) -> Result<()> {
        let most = Self::MOST_PIXELS;
        let large = || format!("{field} {pixels} is too large: a picture has at most {most} a side");
        if pixels > most { Err(Error::request(field, large())) } else { Ok(()) }
    }

    /// Refuses numbers that no run could honour.
    pub fn check(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        for (side, field) in [(self.width, Field::Width), (self.height, Field::Height)] {
            side.map_or(Ok(()), |pixels| Self::check_side(pixels, field))?;
        }
        let (most, batch) = (Self::MOST_IMAGES, self.batch_size);
        if batch > most {
            return bad(
                Field::BatchSize,
                format!(
                    "{batch} is too large: at most {most} pictures are made at once; draw more one batch after another"
                ),
            );
        }
        let most = Self::MOST_STEPS;
        if let Some(steps) = self.steps.filter(|steps| *steps > most) {
            return bad(Field::Steps, format!("{steps} is too large: use at most {most}"));
        }
        let count = |n: usize| n == 1 || n == self.batch_size;
        for (field, size) in self.sizes() {
            if let Some([a, b]) = size.filter(|size| size.iter().any(|side| *side > Self::MOST_PIXELS)) {
                return bad(field, format!("{a}, {b} is too large: use at most {}", Self::MOST_PIXELS));
            }
        }
        if self.batch_size == 0 {
            return bad(Field::BatchSize, "0 makes no picture: use 1 or more".into());
        }
        if self.clip_skip == Some(0) {
            return bad(Field::ClipSkip, "0 names no layer: 1 is the last one".into());
        }
        if self.steps == Some(0) {
            return bad(Field::Steps, "0 makes no picture: use 1 or more".into());
        }
        for (field, texts, is_needed) in [
            (Field::Prompts, &self.prompts, true),
            (Field::NegativePrompts, &self.negative_prompts, true),
            (Field::Prompts2, &self.prompts_2, false),
            (Field::NegativePrompts2, &self.negative_prompts_2, false),
        ] {
            if !count(texts.len()) && (is_needed || !texts.is_empty()) {
                let (has, size) = (texts.len(), Field::BatchSize);
                return bad(
                    field,
                    format!("holds {has} texts, and {size} is {batch}: give one, or one an image"),
                );
            }
        }
        if let Some(scale) = self.cfg_scale.filter(|scale| !scale.is_finite()) {
            return bad(Field::CfgScale, format!("{scale} is not a number to multiply with"));
        }
        if !(0.0..=1.0).contains(&self.cfg_rescale) {
            return bad(Field::CfgRescale, format!("{} is not between 0 and 1", self.cfg_rescale));
        }
        let shares = [
            (Field::Eta, self.eta),
            (Field::VariationStrength, Some(self.variation_strength)),
            (Field::CfgStart, Some(self.cfg_start)),
            (Field::CfgEnd, Some(self.cfg_end)),
        ];
        for (field, share) in shares {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return bad(field, format!("{share} is not between 0 and 1"));
            }
        }
        if self.cfg_start > self.cfg_end {
            let (start, end) = (self.cfg_start, self.cfg_end);
            return bad(Field::CfgStart, format!("{start} is above {} {end}", Field::CfgEnd));
        }
        if self.guidance != Guidance::Cfg && self.cfg_rescale > 0.0 {
            let (kind, other) = (self.guidance.name(), Field::Guidance);
            return bad(Field::CfgRescale, format!("goes with {other} cfg alone, not {kind}: leave one out"));
        }
        let numbers = [
            (Field::SMinUncond, Some(self.s_min_uncond)),
            (Field::SNoise, self.s_noise),
            (Field::SChurn, self.s_churn),
            (Field::STmin, self.s_tmin),
            (Field::STmax, self.s_tmax),
        ];
        for (field, number) in numbers {
            if let Some(number) = number.filter(|number| !(0.0..f64::INFINITY).contains(number)) {
                return bad(field, format!("{number} is no number of zero or more"));
            }
        }
        if let Some(share) = self.refiner_switch.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return bad(Field::RefinerSwitch, format!("{share} is not between 0 and 1"));
        }
        let scores = [
            (Field::AestheticScore, self.aesthetic_score),
            (Field::NegativeAestheticScore, self.negative_aesthetic_score),
        ];
        for (field, score) in scores {
            if let Some(score) = score.filter(|score| !score.is_finite()) {
                return bad(field, format!("{score} is no score: use a number, 1 to 10"));
            }
        }
        if self.sigmas.is_some() && self.timesteps.is_some() {
            let other = Field::Timesteps;
            return bad(
                Field::Sigmas,
                format!("and {other} say the same in two ways: leave one of them out"),
            );
        }
        if let Some(list) = self.listed() {
            let field = if self.sigmas.is_some() { Field::Sigmas } else { Field::Timesteps };
            if list.len() > most {
                return bad(field, format!("holds {} numbers: use at most {most}", list.len()));
            }
            for (other, there) in
                [(Field::Schedule, self.schedule.is_some()), (Field::Steps, self.steps.is_some())]
            {
                if there {
                    return bad(field, format!("says the noise levels one by one: leave {other} out"));
                }
            }
        }
        self.check_init()?;
        self.check_mask()?;
        self.check_controls()?;
        let churned =
            [self.s_tmin.unwrap_or(0.0), self.s_tmax.filter(|most| *most > 0.0).unwrap_or(f64::INFINITY)];
        if churned[0] > churned[1] {
            let [least, most] = churned;
            return bad(Field::STmin, format!("{least} is above {} {most}", Field::STmax));
        }
        if let Some(size) =
            self.seed_resize_from.filter(|size| size.iter().any(|side| *side > Self::MOST_PIXELS))
        {
            return bad(Field::SeedResizeFrom, format!("{}x{} is too large", size[0], size[1]));
        }
        Ok(())
    }

    /// Refuses what is to be made otherwise of a UNet that has no such thing.
    pub(crate) fn check_changes(&self, model: &Model) -> Result<()> {
        let unet = &model.config.unet;
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        let attends = unet.mid_block == Some(Block::CrossAttention);
        if self.guidance.away_from().is_some() && !attends {
            let (kind, name) = (self.guidance.name(), &model.name);
            return bad(
                Field::Guidance,
                format!("{kind}: {name} has no attention in its middle: give another"),
            );
        }
        let layers = unet.up_layers();
        match self.cache.layers().filter(|asked| *asked > layers) {
            Some(_) => bad(Field::Cache, format!("{}: a branch is 0 to {}", self.cache, layers - 1)),
            None => Ok(()),
        }
    }
}
