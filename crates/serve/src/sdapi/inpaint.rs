//! What of the picture is drawn anew.

use crate::pictures;
use crate::problem::Problem;
use calotype::{InpaintArea, InpaintFill, Mask, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What clients send of it, by A1111's names.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MaskAsked {
    pub mask: Option<String>,
    mask_blur: Option<f64>,
    mask_blur_x: Option<f64>,
    inpainting_fill: Option<u8>,
    inpaint_full_res: Option<Value>,
    inpaint_full_res_padding: Option<usize>,
    inpainting_mask_invert: Option<u8>,
}

/// By how many pixels masks are softened if nothing is said.
const BLUR: f64 = 4.0;

impl MaskAsked {
    /// The mask, where one was sent: white is drawn anew.
    pub async fn read(&self) -> Result<Option<Mask>, Problem> {
        let Some(text) = self.mask.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let mut mask = pictures::read_mask("mask", text).await?;
        if self.inpainting_mask_invert.is_some_and(|invert| invert != 0) {
            mask.values.iter_mut().for_each(|value| *value = 255 - *value);
        }
        Ok(Some(mask))
    }

    /// Puts a mask into a request that begins from a picture, with A1111's defaults.
    pub fn apply(&self, mask: Mask, request: &mut Request) -> Result<(), Problem> {
        request.mask = Some(Arc::new(mask));
        request.mask_blur = Some(self.mask_blur.or(self.mask_blur_x).unwrap_or(BLUR));
        request.inpaint_fill = Some(match self.inpainting_fill.unwrap_or(0) {
            0 => InpaintFill::Fill,
            1 => InpaintFill::Original,
            2 => InpaintFill::Noise,
            3 => InpaintFill::Nothing,
            other => {
                let why =
                    format!("inpainting_fill {other}: use 0 (fill), 1 (original), 2 (noise) or 3 (nothing)");
                return Err(Problem::field("inpainting_fill", why));
            }
        });
        // Clients send it as a number too.
        let whole =
            self.inpaint_full_res.as_ref().is_some_and(|said| *said == Value::Bool(false) || *said == 0);
        if !whole {
            request.inpaint_area = InpaintArea::Masked;
            request.inpaint_padding = Some(self.inpaint_full_res_padding.unwrap_or(0));
        }
        Ok(())
    }
}
