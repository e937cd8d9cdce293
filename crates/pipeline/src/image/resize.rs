use super::{Mask, Picture};
use crate::error::Result as OurResult;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a picture of another shape is made to fit (A1111's modes 0 to 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Its sides each by itself.
    #[default]
    Stretch,
    /// All of it is covered, and what stands over at two sides is left out.
    Crop,
    /// All of it is there, and its edges go on at two sides.
    Fill,
}

impl Resize {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stretch, Self::Crop, Self::Fill];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stretch => "stretch",
            Self::Crop => "crop",
            Self::Fill => "fill",
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|how| how.name() == name);
        found.ok_or_else(|| "use stretch, crop or fill".into())
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A picture at a size, in three channels.
pub(crate) fn fitted(picture: &Picture, [height, width]: [usize; 2], how: Resize) -> OurResult<Picture> {
    match [picture.height, picture.width] == [height, width] {
        true => Picture::new(width, height, 3, picture.rgb().into_owned()),
        false => resized(picture, [height, width], how),
    }
}

/// A mask at a size.
pub(crate) fn fitted_mask(mask: &Mask, [height, width]: [usize; 2], how: Resize) -> OurResult<Mask> {
    match [mask.height, mask.width] == [height, width] {
        true => Ok(mask.clone()),
        false => resized_mask(mask, [height, width], how),
    }
}

#[cfg(not(target_arch = "wasm32"))]
use native::{resized, resized_mask};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{Mask, OurResult, Picture, Resize};

    pub fn resized(picture: &Picture, [height, width]: [usize; 2], how: Resize) -> OurResult<Picture> {
        picture.resized(width, height, how)
    }

    pub fn resized_mask(mask: &Mask, [height, width]: [usize; 2], how: Resize) -> OurResult<Mask> {
        mask.resized(width, height, how)
    }
}

#[cfg(target_arch = "wasm32")]
use browsers::{resized, resized_mask};

/// Browsers resize pictures themselves.
#[cfg(target_arch = "wasm32")]
mod browsers {
    use super::{Mask, OurResult, Picture, Resize};
    use crate::error::Error;
    use calotype_field::Field;

    fn other(field: Field, own: [usize; 2], [height, width]: [usize; 2]) -> Error {
        let why = format!("{field} is {}x{}: give it as {width}x{height}", own[1], own[0]);
        Error::request(field, why)
    }

    pub fn resized(picture: &Picture, size: [usize; 2], _: Resize) -> OurResult<Picture> {
        Err(other(Field::InitImg, [picture.height, picture.width], size))
    }

    pub fn resized_mask(mask: &Mask, size: [usize; 2], _: Resize) -> OurResult<Mask> {
        Err(other(Field::Mask, [mask.height, mask.width], size))
    }
}
