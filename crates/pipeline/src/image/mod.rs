//! Pictures as files: PNG with the settings that made it, in the form that A1111's web UI writes and other tools
//! read; grids; and file names that never overwrite.

mod area;
mod canny;
#[cfg(not(target_arch = "wasm32"))]
mod embedded;
#[cfg(not(target_arch = "wasm32"))]
mod files;
mod fill;
#[cfg(not(target_arch = "wasm32"))]
mod format;
mod hint;
mod infotext;
mod mask;
mod others;
#[cfg(not(target_arch = "wasm32"))]
mod pattern;
#[cfg(not(target_arch = "wasm32"))]
mod read;
mod resize;
#[cfg(not(target_arch = "wasm32"))]
mod target;
mod texts;
mod watermark;

pub use area::Area;
pub(crate) use area::larger;
pub(crate) use fill::faded;
pub use hint::Hint;
pub use infotext::Infotext;
pub use mask::Mask;
pub use others::settings;
pub use resize::Resize;
pub(crate) use resize::{fitted, fitted_mask};
pub use texts::{is_picture, names_picture, texts};
#[cfg(not(target_arch = "wasm32"))]
pub use {
    embedded::open_embedding,
    files::*,
    format::PictureFormat,
    pattern::{Pattern, folder_of},
    target::Target,
};

use crate::error::{Error, Result};
use std::borrow::Cow;

/// The PNG keyword under which A1111 keeps its settings.
const KEYWORD: &str = "parameters";

/// Pixels in rows from the top, 8 bits a channel, 3 (RGB) or 4 (RGBA) channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Channels a pixel: 3 or 4.
    pub channels: usize,
    /// `height * width * channels` values.
    pub pixels: Vec<u8>,
}

fn bad(reason: impl Into<String>) -> Error {
    Error::Image { file: "PNG".into(), reason: reason.into() }
}

impl Picture {
    /// A picture from its pixels; errors where their number does not fit the size.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Picture> {
        if width == 0
            || height == 0
            || !(3..=4).contains(&channels)
            || pixels.len() != width * height * channels
        {
            return Err(bad(format!(
                "{} values are no picture of {width}x{height} with {channels} channels",
                pixels.len()
            )));
        }
        Ok(Picture { width, height, channels, pixels })
    }

    /// The picture without its alpha channel.
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        match self.channels {
            3 => Cow::Borrowed(&self.pixels),
            _ => Cow::Owned(self.pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect()),
        }
    }

    /// Values of -1 to 1, three a pixel, as encoders take them.
    pub(crate) fn levels(&self) -> Vec<f32> {
        self.rgb().iter().map(|value| f32::from(*value) / 127.5 - 1.0).collect()
    }

    /// An RGB PNG. `parameters` goes into a text chunk of that name: `tEXt` where it is Latin-1, else `iTXt`.
    pub fn png(&self, parameters: Option<&str>) -> Result<Vec<u8>> {
        let failed = |e: png::EncodingError| bad(e.to_string());
        let too_large = |_| bad(format!("{}x{} is too large for a PNG", self.width, self.height));
        let width = u32::try_from(self.width).map_err(too_large)?;
        let height = u32::try_from(self.height).map_err(too_large)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        if let Some(text) = parameters {
            let added = match text.chars().all(|c| (c as u32) < 256 && c != '\0') {
                true => encoder.add_text_chunk(KEYWORD.into(), text.into()),
                false => encoder.add_itxt_chunk(KEYWORD.into(), text.replace('\0', "")),
            };
            added.map_err(failed)?;
        }
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.rgb()).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }

    /// Several pictures of one size in rows of `columns`, from the top left; without `columns` as near to a square
    /// as it gets, wider rather than higher. Places left over are black.
    pub fn grid(pictures: &[Picture], columns: Option<usize>) -> Result<Picture> {
        let first = pictures.first().ok_or_else(|| bad("a grid of no pictures"))?;
        let (w, h) = (first.width, first.height);
        if let Some(odd) = pictures.iter().find(|p| (p.width, p.height) != (w, h)) {
            return Err(bad(format!(
                "a grid of {w}x{h} cannot take a picture of {}x{}",
                odd.width, odd.height
            )));
        }
        let square = || (pictures.len() as f64).sqrt().ceil() as usize;
        let columns = columns.unwrap_or_else(square).clamp(1, pictures.len());
        let mut grid = Picture::plain(columns * w, pictures.len().div_ceil(columns) * h, 0);
        for (i, picture) in pictures.iter().enumerate() {
            grid.put(picture, [i % columns * w, i / columns * h]);
        }
        Ok(grid)
    }

    /// A picture of three channels that has one value everywhere: black at 0, white at 255.
    pub fn plain(width: usize, height: usize, value: u8) -> Picture {
        Picture { width, height, channels: 3, pixels: vec![value; 3 * width * height] }
    }

    /// Puts a picture over a part of this one, which has three channels and holds it, its top left corner at `[x, y]`.
    pub fn put(&mut self, picture: &Picture, [left, top]: [usize; 2]) {
        for (y, line) in picture.rgb().chunks_exact(3 * picture.width).enumerate() {
            self.pixels[3 * ((top + y) * self.width + left)..][..line.len()].copy_from_slice(line);
        }
    }
}

/// The settings text of a picture, where it has one.
pub fn parameters(file: &[u8]) -> Result<Option<String>> {
    if !is_picture(file) {
        return Err(bad("not readable: it is neither a PNG nor a JPEG nor a WebP"));
    }
    Ok(texts(file)?.into_iter().find(|(keyword, _)| keyword == KEYWORD).map(|(_, text)| text))
}
