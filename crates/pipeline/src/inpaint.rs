//! What a mask keeps of the picture that a run begins from.

use crate::image::{Mask, Picture};
use calotype_sampling::Keeps;

/// What of a picture is drawn anew.
#[derive(Clone, Debug)]
pub struct Inpaint {
    /// The mask, softened and of the order's size.
    pub mask: Mask,
    /// By how many pixels it was softened.
    pub blur: f64,
    /// Whether the seam lies inside of what is drawn anew, as A1111's does.
    pub(crate) inside: bool,
    /// Whether the first evaluation is shown the picture where it is kept.
    pub(crate) sees: bool,
    /// What each evaluation keeps.
    pub(crate) keeps: Vec<Keeps>,
}

impl Inpaint {
    /// How many tensors say what is kept.
    pub(crate) const TENSORS: usize = 3;

    /// Has a picture of the order's be the one that it began from wherever the mask keeps that.
    pub(crate) fn paste(&self, drawn: &mut Picture, own: &Picture) {
        let share = |value: u8| if self.inside { value.saturating_mul(2) } else { value };
        let channels = drawn.channels;
        let own = own.rgb();
        let places = drawn.pixels.chunks_exact_mut(channels).zip(own.chunks_exact(3)).zip(&self.mask.values);
        for ((drawn, own), value) in places {
            let new = u32::from(share(*value));
            for (drawn, own) in drawn.iter_mut().zip(own) {
                *drawn = ((u32::from(*drawn) * new + u32::from(*own) * (255 - new) + 127) / 255) as u8;
            }
        }
    }
}
