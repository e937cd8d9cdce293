//! Files of pictures, in the formats that can carry settings as A1111 does.

use super::{Picture, bad};
use crate::error::Result;
use exif::experimental::Writer;
use exif::{Field, In, Tag, Value};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use image_webp::WebPEncoder;
use std::fmt::Display;
use std::io::Cursor;
use std::path::Path;

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Every pixel as it is, the settings in a text chunk.
    Png,
    /// With losses, by a quality of 1 to 100. The settings in EXIF.
    Jpeg(u8),
    /// Every pixel as it is, in less space than PNG. The settings in EXIF.
    WebP,
}

/// Bytes of EXIF in a JPEG, whose segments are at most 65,535 long, with their length and what they are called.
const SEGMENT: usize = 65_535 - 2 - 6;

impl PictureFormat {
    /// What JPEGs have where nothing is said.
    pub const QUALITY: u8 = 90;

    /// What a file's name says by its ending; none where that is another's, or there is no ending.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match &*ending {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg(Self::QUALITY)),
            "webp" => Some(Self::WebP),
            _ => None,
        }
    }
}

impl Picture {
    /// A file of a format. `parameters` stands where A1111 puts its settings (modules/images.py, `save_image_with_geninfo`): in a
    /// PNG's text, else in EXIF's user comment, in UTF-16. Errors where the format takes no picture so large, or no text so long.
    pub fn encoded(&self, format: PictureFormat, parameters: Option<&str>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let failed =
            |what: &str, e: &dyn Display| bad(format!("{}x{} as {what}: {e}", self.width, self.height));
        match format {
            PictureFormat::Png => return self.png(parameters),
            PictureFormat::Jpeg(quality) => {
                let failed = |e: &dyn Display| failed("JPEG", e);
                if self.width.max(self.height) > usize::from(u16::MAX) {
                    return Err(failed(&"at most 65535 pixels a side"));
                }
                let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
                if let Some(text) = parameters {
                    let comment = comment(text)?;
                    if comment.len() > SEGMENT {
                        return Err(failed(
                            &"the settings are too long for its EXIF: leave them out, or take PNG",
                        ));
                    }
                    encoder.set_exif_metadata(comment).map_err(|e| failed(&e))?;
                }
                let [width, height] = [self.width, self.height].map(|side| side as u32);
                let colours = ExtendedColorType::Rgb8;
                encoder.write_image(&self.rgb(), width, height, colours).map_err(|e| failed(&e))?;
            }
            PictureFormat::WebP => {
                let failed = |e: &dyn Display| failed("WebP", e);
                let side = |side: usize| u32::try_from(side).map_err(|e| failed(&e));
                let mut encoder = WebPEncoder::new(&mut bytes);
                if let Some(text) = parameters {
                    encoder.set_exif_metadata(comment(text)?);
                }
                let (width, height) = (side(self.width)?, side(self.height)?);
                let colours = image_webp::ColorType::Rgb8;
                encoder.encode(&self.rgb(), width, height, colours).map_err(|e| failed(&e))?;
            }
        }
        Ok(bytes)
    }
}

/// EXIF with a text as user comment: the code that says UTF-16, and the higher byte of each unit first, as piexif writes it for
/// A1111.
fn comment(text: &str) -> Result<Vec<u8>> {
    let mut value = b"UNICODE\0".to_vec();
    value.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    let field = Field { tag: Tag::UserComment, ifd_num: In::PRIMARY, value: Value::Undefined(value, 0) };
    let (mut writer, mut bytes) = (Writer::new(), Cursor::new(Vec::new()));
    writer.push_field(&field);
    writer.write(&mut bytes, false).map_err(|e| bad(format!("the settings as EXIF: {e}")))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::parameters;

    const TEXT: &str = "a fox 狐, \"quoted\"\nNegative prompt: none\nSteps: 4, Sampler: Euler, Seed: 7";

    fn shaded() -> Picture {
        let pixels = (0..3 * 40 * 24).map(|i| (i / 3 % 40 * 5 + i % 3 * 20) as u8).collect();
        Picture::new(40, 24, 3, pixels).unwrap()
    }

    #[test]
    fn every_format_holds_the_picture_and_its_settings() {
        let picture = shaded();
        for (name, loss) in [("a.png", 0), ("a.JPG", 6), ("b.jpeg", 6), ("a.webp", 0)] {
            let format = PictureFormat::of(Path::new(name)).unwrap();
            let file = picture.encoded(format, Some(TEXT)).unwrap();
            assert_eq!(parameters(&file).unwrap().as_deref(), Some(TEXT), "{name}");
            let read = Picture::read(name, &file).unwrap();
            assert_eq!((read.width, read.height), (40, 24));
            let far = read.pixels.iter().zip(&picture.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(loss), "{name}: {far:?}");
            assert_eq!(parameters(&picture.encoded(format, None).unwrap()).unwrap(), None, "{name}");
        }
        for name in ["a", "a.gif", ".png"] {
            assert_eq!(PictureFormat::of(Path::new(name)), None, "{name}");
        }
        let size = |quality| picture.encoded(PictureFormat::Jpeg(quality), None).unwrap().len();
        assert!(size(20) < size(95));
    }

    #[test]
    fn what_a_format_cannot_hold_is_an_error() {
        let wide = Picture::plain(1 << 16, 1, 9);
        for format in [PictureFormat::Jpeg(90), PictureFormat::WebP] {
            let error = wide.encoded(format, None).unwrap_err().to_string();
            assert!(error.contains("65536x1"), "{error}");
        }
        // EXIF in a JPEG is one segment.
        let long = "x".repeat(1 << 16);
        assert!(shaded().encoded(PictureFormat::Jpeg(90), Some(&long)).is_err());
        let webp = shaded().encoded(PictureFormat::WebP, Some(&long)).unwrap();
        assert_eq!(parameters(&webp).unwrap(), Some(long));
    }
}
