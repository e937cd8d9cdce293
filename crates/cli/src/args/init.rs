mod control;

pub use control::ControlArgs;

use super::values::number;
use anyhow::Context;
use calotype::{Error, InpaintArea, InpaintFill, Mask, Picture, Recalled, Request, Resize, StepRule};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The picture that drawing begins from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "From a picture")]
pub struct InitArgs {
    /// Begin from a picture, a PNG, JPEG or WebP: it is turned as its EXIF says, and what is clear in it is white. Without -W
    /// and -H the new one has its size, rounded down to the model's step
    #[arg(long, value_name = "FILE")]
    pub init_img: Option<PathBuf>,

    /// How much of it is drawn anew, 0 to 1 [default: 0.75, or 1 with a model that changes pictures as the prompt says]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub strength: Option<f64>,

    /// How far to follow the picture, with a model that changes pictures as the prompt says (InstructPix2Pix) [default: 1.5]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub image_cfg_scale: Option<f32>,

    /// By whose rule --strength says how many of the steps are taken: diffusers (20 at 0.75 are 15) or a1111 (one more)
    /// [default: diffusers]
    #[arg(long, value_name = "RULE", value_parser = str::parse::<StepRule>)]
    pub img2img_steps: Option<StepRule>,

    /// How a picture of another size is made to fit: stretch, crop (what stands over is left out) or fill (its edges go on)
    /// [default: stretch]
    #[arg(long, value_name = "HOW", value_parser = str::parse::<Resize>)]
    pub resize: Option<Resize>,

    /// Draw anew what is white in this picture, which has the size of the one to begin from, and keep the rest
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,

    /// Soften the mask by so many pixels [default: 0, or 4 with --img2img-steps a1111]
    #[arg(long, value_name = "PX", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub mask_blur: Option<f64>,

    /// Have the mask's greys count while it is drawn too, in place of all or nothing
    #[arg(long)]
    pub soft_mask: bool,

    /// What stands at the beginning where it is drawn anew: original, fill (what is around it, blurred), noise or nothing
    /// [default: original, or fill with --outpaint]
    #[arg(long, value_name = "WHAT", value_parser = str::parse::<InpaintFill>)]
    pub inpaint_fill: Option<InpaintFill>,

    /// Draw the whole picture, or the masked part of it alone, at -W and -H or the model's own size [default: whole]
    #[arg(long, value_name = "AREA", value_parser = str::parse::<InpaintArea>)]
    pub inpaint_area: Option<InpaintArea>,

    /// Pixels around what is drawn anew that --inpaint-area masked draws with it [default: 32]
    #[arg(long, value_name = "PX")]
    pub inpaint_padding: Option<usize>,

    /// Make the picture larger by so many pixels to the left, above, to the right and below, and draw those
    #[arg(long, value_name = "L,T,R,B", value_parser = sides)]
    pub outpaint: Option<[usize; 4]>,

    #[command(flatten)]
    pub control: ControlArgs,
}

impl InitArgs {
    /// Puts what is said here into a request, the picture read; how far another picture was from its own where nothing is said.
    pub fn apply(&self, request: &mut Request, recalled: Option<&Recalled>) -> anyhow::Result<()> {
        let recalled = recalled.filter(|recalled| self.init_img.is_some() && recalled.strength.is_some());
        request.strength = self.strength.or(recalled.and_then(|recalled| recalled.strength));
        let rule = recalled.map(|recalled| recalled.img2img_steps);
        request.img2img_steps = self.img2img_steps.or(rule).unwrap_or_default();
        request.resize = self.resize.unwrap_or_default();
        request.image_cfg_scale = self.image_cfg_scale.or(request.image_cfg_scale);
        request.init_img = read("--init-img", self.init_img.as_deref(), Picture::read)?;
        request.mask = read("--mask", self.mask.as_deref(), Mask::read)?;
        request.outpaint = self.outpaint.or(request.outpaint.filter(|_| self.init_img.is_some()));
        if self.mask.is_none() && request.outpaint.is_none() {
            // What another picture was drawn with says nothing without its mask.
            let unsaid = Request::default();
            (request.mask_blur, request.soft_mask) = (None, unsaid.soft_mask);
            (request.inpaint_fill, request.inpaint_area) = (None, unsaid.inpaint_area);
            request.inpaint_padding = None;
        }
        request.mask_blur = self.mask_blur.or(request.mask_blur);
        request.soft_mask |= self.soft_mask;
        request.inpaint_fill = self.inpaint_fill.or(request.inpaint_fill);
        request.inpaint_area = self.inpaint_area.unwrap_or(request.inpaint_area);
        request.inpaint_padding = self.inpaint_padding.or(request.inpaint_padding);
        self.control.apply(request)
    }
}

/// Pixels to the left, above, to the right and below.
fn sides(text: &str) -> Result<[usize; 4], String> {
    let sides: Result<Vec<usize>, _> = text.split(',').map(|side| side.trim().parse()).collect();
    sides
        .ok()
        .and_then(|sides| sides.try_into().ok())
        .ok_or_else(|| "use four numbers: left,top,right,bottom".into())
}

/// What a flag's file holds.
fn read<T>(
    flag: &str,
    path: Option<&Path>,
    read: fn(&str, &[u8]) -> Result<T, Error>,
) -> anyhow::Result<Option<Arc<T>>> {
    let Some(path) = path else { return Ok(None) };
    let name = path.display().to_string();
    let file = std::fs::read(path).with_context(|| format!("{flag} {name}: cannot be read"))?;
    Ok(Some(Arc::new(read(&name, &file).context(flag.to_string())?)))
}
