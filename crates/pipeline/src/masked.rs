//! From a mask to what a run keeps of the picture that it begins from (diffusers: `StableDiffusionInpaintPipeline`; A1111:
//! modules/processing.py, `StableDiffusionProcessingImg2Img`).

use crate::error::{Error, Result};
use crate::image::{Area, Mask, Picture, Resize, fitted, fitted_mask, larger};
use crate::init::StepRule;
use crate::inpaint::{Inpaint, InpaintArea, InpaintFill};
use crate::model::Model;
use crate::request::Request;
use calotype_field::Field;
use calotype_sampling::{Chosen, Keeps};
use std::sync::Arc;

/// A picture to begin from, and what of it is drawn anew.
type Begins = (Arc<Picture>, Option<Arc<Mask>>);

impl Request {
    /// The most pixels by which a mask is softened.
    pub const MOST_BLUR: f64 = 256.0;

    /// Pixels around what is drawn anew that are drawn with it where nothing is said, as in A1111.
    pub const PADDING: usize = 32;

    /// Refuses what no mask could honour.
    pub(crate) fn check_mask(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        let (field, init) = (Field::Mask, Field::InitImg);
        let most = Self::MOST_PIXELS;
        if let Some(sides) = self.outpaint {
            if self.init_img.is_none() {
                return bad(Field::Outpaint, format!("makes a picture larger: give {init}"));
            }
            if sides == [0; 4] || sides.iter().any(|side| *side > most) {
                return bad(
                    Field::Outpaint,
                    format!("takes 0 to {most} pixels a side, and some at one of them"),
                );
            }
        }
        let Some(mask) = &self.mask else {
            let said = [
                (Field::MaskBlur, self.mask_blur.is_some()),
                (Field::InpaintFill, self.inpaint_fill.is_some()),
                (Field::InpaintArea, self.inpaint_area != InpaintArea::default()),
                (Field::InpaintPadding, self.inpaint_padding.is_some()),
                (Field::SoftMask, self.soft_mask),
            ];
            let said = said.into_iter().find(|(_, is_said)| *is_said && self.outpaint.is_none());
            return said.map_or(Ok(()), |(own, _)| bad(own, format!("is about a mask: give {field}")));
        };
        let Some(picture) = &self.init_img else {
            return bad(field, format!("says what of a picture is drawn anew: give {init}"));
        };
        let (own, theirs) = ([mask.width, mask.height], [picture.width, picture.height]);
        if own != theirs {
            let ([w, h], [width, height]) = (own, theirs);
            return bad(field, format!("is {w}x{h}, and {init} {width}x{height}: give one of the same size"));
        }
        if mask.is_black() && self.outpaint.is_none() {
            return bad(field, "is black all over: make white what is to be drawn anew".into());
        }
        if self.inpaint_padding.is_some() && self.inpaint_area == InpaintArea::Whole {
            let area = Field::InpaintArea;
            return bad(Field::InpaintPadding, format!("is about a part of the picture: give {area} masked"));
        }
        match self.mask_blur.filter(|blur| !(0.0..=Self::MOST_BLUR).contains(blur)) {
            Some(blur) => {
                bad(Field::MaskBlur, format!("{blur} is not between 0 and {} pixels", Self::MOST_BLUR))
            }
            None => Ok(()),
        }
    }

    /// The picture to begin from and its mask, on the canvas that is asked for.
    pub(crate) fn begins(&self) -> Option<Begins> {
        let picture = self.init_img.as_ref()?;
        let Some(sides) = self.outpaint else { return Some((Arc::clone(picture), self.mask.clone())) };
        let black = || Mask {
            width: picture.width,
            height: picture.height,
            values: vec![0; picture.width * picture.height],
        };
        let mask =
            self.mask.as_deref().map_or_else(|| black().outpainted(sides), |mask| mask.outpainted(sides));
        Some((Arc::new(picture.outpainted(sides)), Some(Arc::new(mask))))
    }

    /// The size `[height, width]` that a picture to begin from asks for: its own, or, where a part of it is drawn, none.
    pub(crate) fn own_size(&self, factor: usize) -> Result<Option<[usize; 2]>> {
        let Some(picture) = self.init_img.as_ref().filter(|_| self.inpaint_area == InpaintArea::Whole) else {
            return Ok(None);
        };
        let whole = |side: usize| (side / factor * factor).max(factor);
        let [width, height] = larger([picture.width, picture.height], self.outpaint.unwrap_or_default());
        let is_asked = self.width.is_some() && self.height.is_some();
        // A canvas that is made larger keeps its pixels.
        if let (Some(_), false, Some(side)) =
            (self.outpaint, is_asked, [width, height].into_iter().find(|side| !side.is_multiple_of(factor)))
        {
            let (field, over) = (Field::Outpaint, side % factor);
            let why = format!(
                "{field} makes the picture {width}x{height}, and the model draws multiples of {factor}: give {} less or {} more",
                over,
                factor - over
            );
            return Err(Error::request(field, why));
        }
        Ok(Some([height, width].map(whole)))
    }

    /// What of a picture is drawn anew at a size, and the part of the picture that is drawn.
    pub(crate) fn inpaint(
        &self,
        model: &Model,
        (picture, mask): (&Picture, &Mask),
        size: [usize; 2],
    ) -> Result<(Inpaint, Picture)> {
        let (rule, [height, width]) = (self.img2img_steps, size);
        let blur = self.mask_blur.unwrap_or(rule.blur());
        let soft = mask.blurred(blur);
        let padding = self.inpaint_padding.unwrap_or(Self::PADDING);
        let area = match self.inpaint_area {
            InpaintArea::Whole => None,
            InpaintArea::Masked => Area::around(&soft, padding, [width, height]),
        };
        let (mask, part, over) = match area {
            None => {
                let part = fitted(picture, size, self.resize)?;
                let mask = fitted_mask(&soft, size, self.resize)?;
                // A1111's seam lies inside of what is drawn anew.
                let over = if rule == StepRule::A1111 { mask.doubled() } else { mask.clone() };
                (mask, part.clone(), (part, over))
            }
            Some(area) => {
                let part = fitted(&picture.part(area), size, Resize::Fill)?;
                let mask = fitted_mask(&soft.part(area), size, Resize::Fill)?;
                let whole = Area { left: 0, top: 0, width: picture.width, height: picture.height };
                (mask, part, (picture.part(whole), soft))
            }
        };
        let by_default = if self.outpaint.is_some() { InpaintFill::Fill } else { InpaintFill::Original };
        let fill = self.inpaint_fill.unwrap_or(by_default);
        // What latents are made of in its place is filled all the same, as in A1111.
        let part = if fill == InpaintFill::Original { part } else { mask.fill(&part) };
        let inpaint = Inpaint {
            mask,
            blur,
            fill,
            soft: self.soft_mask,
            area: area.map(|area| (area, padding)),
            outpaint: self.outpaint,
            is_told: model.config.unet.inpaints(),
            vae_noise: self.masked_vae_noise.clone(),
            over,
            sees: false,
            keeps: Vec::new(),
        };
        Ok((inpaint, part))
    }
}

impl Inpaint {
    /// Settles what each evaluation keeps.
    pub(crate) fn keep(&mut self, chosen: &Chosen, rule: StepRule) -> Result<()> {
        (self.sees, self.keeps) = match (rule, self.is_told) {
            // diffusers leaves it to the model.
            (StepRule::Diffusers, true) => (false, vec![Keeps::default(); chosen.program.steps.len()]),
            _ => chosen.keeps(rule.keeping())?,
        };
        Ok(())
    }
}
