//! What a mask keeps of the picture that a run begins from.

mod kinds;

pub use kinds::{InpaintArea, InpaintFill};

use crate::error::Result;
use crate::image::{Area, Mask, Picture, Resize, faded, fitted};
use calotype_sampling::Keeps;
use calotype_tensor::HostTensor;

/// What of a picture is drawn anew.
#[derive(Clone, Debug)]
pub struct Inpaint {
    /// The mask, softened and of the order's size.
    pub mask: Mask,
    /// By how many pixels it was softened.
    pub blur: f64,
    /// What stands in its place at the beginning.
    pub fill: InpaintFill,
    /// Whether its greys count for the latents too.
    pub soft: bool,
    /// The part of the picture that is drawn, where that is not all, and how many pixels it has around what is drawn anew.
    pub area: Option<(Area, usize)>,
    /// Pixels that the picture was given more, to the left, above, to the right and below.
    pub outpaint: Option<[usize; 4]>,
    /// Whether the model is told the mask and what it leaves.
    pub is_told: bool,
    /// Noise for the encoder's sample of the latter.
    pub(crate) vae_noise: Option<HostTensor>,
    /// The picture that is kept, and as much of what is drawn as is laid over each of its pixels.
    pub(crate) over: (Picture, Mask),
    /// Whether the first evaluation is shown the picture where it is kept.
    pub(crate) sees: bool,
    /// What each evaluation keeps.
    pub(crate) keeps: Vec<Keeps>,
}

impl Inpaint {
    /// How many tensors say what is kept.
    pub(crate) const TENSORS: usize = 3;

    /// What the mask leaves of a picture, as values of -1 to 1, three a pixel: grey where it is drawn anew (diffusers:
    /// `init_image * (mask_condition < 0.5)`).
    pub(crate) fn left(&self, picture: &Picture) -> Vec<f32> {
        let mut levels = picture.levels();
        let drawn = levels.chunks_exact_mut(3).zip(&self.mask.values).filter(|(_, value)| **value >= 128);
        drawn.for_each(|(pixel, _)| pixel.fill(0.0));
        levels
    }

    /// What is joined to a batch's latents, `[B, h, w, C + 4]`: the mask, 1 where it draws anew; the latents of what it leaves,
    /// `[1 or B, h, w, C]`; zeros.
    pub(crate) fn joined(&self, left: &[f32], batch: usize, channels: usize, factor: usize) -> Vec<f32> {
        let kept = self.mask.kept(factor);
        let places = kept.iter().cycle().zip(left.chunks_exact(channels).cycle()).take(batch * kept.len());
        places.flat_map(|(kept, left)| [&[1.0 - kept], left, &[0.0; 3]].concat()).collect()
    }

    /// What was drawn of the picture that is kept, in its place and as far as the mask says.
    pub(crate) fn paste(&self, drawn: Picture) -> Result<Picture> {
        let (own, mask) = &self.over;
        let mut whole = match self.area {
            None => drawn,
            Some((area, _)) => {
                let mut whole = own.clone();
                let part = fitted(&drawn, [area.height, area.width], Resize::Crop)?;
                whole.put(&part, [area.left, area.top]);
                whole
            }
        };
        let channels = whole.channels;
        let places =
            whole.pixels.chunks_exact_mut(channels).zip(own.pixels.chunks_exact(3)).zip(&mask.values);
        for ((drawn, own), share) in places {
            let [new, old] = [*share, 255 - share].map(u32::from);
            for (drawn, own) in drawn.iter_mut().zip(own) {
                let own = faded(*own, 255 - share);
                *drawn = ((u32::from(*drawn) * new + u32::from(own) * old + 127) / 255) as u8;
            }
        }
        Ok(whole)
    }
}
