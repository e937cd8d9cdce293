//! What control nets are shown of a photograph, where no network is needed to make it.

use super::{Picture, canny};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is made of a picture before a control net is shown it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Nothing: it is a hint.
    #[default]
    None,
    /// Its edges, white on black (Canny 1986), as OpenCV finds them between gradients of 100 and 200.
    Canny,
    /// Its negative: lines are white on black there.
    Invert,
    /// White where all channels are above a half.
    Threshold,
    /// The picture, for nets that draw its details anew.
    Tile,
    /// How light it is (L of CIELAB), for nets that colour.
    Luminance,
}

impl Hint {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Canny, Self::Invert, Self::Threshold, Self::Tile, Self::Luminance];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Canny => "canny",
            Self::Invert => "invert",
            Self::Threshold => "threshold",
            Self::Tile => "tile",
            Self::Luminance => "luminance",
        }
    }

    /// Makes it of a picture.
    pub fn of(self, picture: &Picture) -> Picture {
        let rgb = picture.rgb();
        let each = |of: &dyn Fn([u8; 3]) -> u8| -> Vec<u8> {
            rgb.as_chunks::<3>().0.iter().flat_map(|pixel| [of(*pixel); 3]).collect()
        };
        let pixels = match self {
            Self::None | Self::Tile => rgb.into_owned(),
            Self::Invert => rgb.iter().map(|value| 255 - value).collect(),
            Self::Threshold => each(&|pixel| if pixel.iter().min() > Some(&127) { 255 } else { 0 }),
            Self::Luminance => each(&|pixel| (lightness(pixel) * 2.55).round() as u8),
            Self::Canny => {
                let edges = canny::edges(&rgb, [picture.width, picture.height], [100, 200]);
                edges.into_iter().flat_map(|is| [if is { 255 } else { 0 }; 3]).collect()
            }
        };
        Picture { width: picture.width, height: picture.height, channels: 3, pixels }
    }
}

impl FromStr for Hint {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|hint| hint.name() == name);
        found.ok_or_else(|| format!("use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// L of CIELAB, 0 to 100, of an sRGB colour (CIE 15; IEC 61966-2-1).
fn lightness(pixel: [u8; 3]) -> f32 {
    let linear = |value: u8| {
        let v = f32::from(value) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    };
    let [r, g, b] = pixel.map(linear);
    let y = 0.212671 * r + 0.715160 * g + 0.072169 * b;
    if y > 0.008856 { 116.0 * y.cbrt() - 16.0 } else { 903.3 * y }
}
