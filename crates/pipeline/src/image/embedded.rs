//! Words with vectors of their own that A1111 hides in pictures (`modules/textual_inversion/image_embedding.py`).

use super::{Picture, texts};
use crate::error::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use calotype_weights::TextualInversion;
use flate2::read::ZlibDecoder;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// The keyword of the text that has it.
const KEYWORD: &str = "sd-ti-embedding";

/// More than any word's numbers take as text, in bytes.
const MOST_TEXT: u64 = 1 << 26;

impl Picture {
    /// The word that a picture carries: as a text beside its pixels, or, where that was lost on the way, in the low four bits of
    /// their values left and right of it. None where there is neither.
    pub fn embedding(name: &str, file: &[u8]) -> Result<Option<TextualInversion>> {
        let said = texts(file)?.into_iter().find(|(keyword, _)| keyword == KEYWORD);
        let text = match said {
            Some((_, text)) => {
                let damaged =
                    |_| Error::Image { file: name.into(), reason: format!("{KEYWORD} is no base64") };
                Some(BASE64_STANDARD.decode(text.trim()).map_err(damaged)?)
            }
            None => hidden(&Picture::read(name, file)?),
        };
        Ok(text.map(|text| TextualInversion::of_json(name, &text)).transpose()?)
    }
}

/// Opens a word's file: one of weights, or a picture that carries it.
pub fn open_embedding(path: impl AsRef<Path>) -> Result<TextualInversion> {
    let path = path.as_ref();
    let io = |error| calotype_weights::Error::Io { path: path.into(), error };
    let mut head = Vec::new();
    let mut file = std::fs::File::open(path).map_err(io)?;
    file.by_ref().take(16).read_to_end(&mut head).map_err(io)?;
    if !super::is_picture(&head) {
        return Ok(TextualInversion::open(path)?);
    }
    file.read_to_end(&mut head).map_err(io)?;
    let name = path.display().to_string();
    let without =
        || Error::Image { file: name.clone(), reason: "a picture that carries no embedding".into() };
    Picture::embedding(&name, &head)?.ok_or_else(without)
}

/// What the pixels hide, if they do: within black edges stand two blocks of nibbles, the lower left of the picture and the
/// higher right of it, parted from it by columns in which no low bit is set.
fn hidden(picture: &Picture) -> Option<Vec<u8>> {
    let rgb = picture.rgb();
    let at = |x: usize, y: usize| &rgb[3 * (y * picture.width + x)..][..3];
    let lit = |x: usize, y: usize| at(x, y).iter().all(|v| *v > 0);
    let columns: Vec<usize> =
        (0..picture.width).filter(|x| (0..picture.height).any(|y| lit(*x, y))).collect();
    let rows: Vec<usize> = (0..picture.height).filter(|y| (0..picture.width).any(|x| lit(x, *y))).collect();
    let (columns, rows) = (*columns.first()?..columns.last()? + 1, *rows.first()?..rows.last()? + 1);
    let dark = |x: &usize| rows.clone().all(|y| at(*x, y).iter().all(|v| v & 15 == 0));
    let (first, last) = (columns.clone().find(dark)?, columns.clone().rfind(dark)?);
    let block = |columns: Range<usize>| -> Vec<u8> {
        let values =
            rows.clone().flat_map(|y| &rgb[3 * (y * picture.width + columns.start)..][..3 * columns.len()]);
        values.zip(Noise(0)).map(|(value, noise)| (value ^ noise) & 15).collect()
    };
    let (low, high) = (columns.start..first, last + 1..columns.end);
    if first == last || low.is_empty() || low.len() != high.len() {
        return None;
    }
    let packed: Vec<u8> = block(low).iter().zip(block(high)).map(|(low, high)| high << 4 | low).collect();
    let mut text = Vec::new();
    ZlibDecoder::new(&packed[..]).take(MOST_TEXT).read_to_end(&mut text).ok()?;
    Some(text)
}

/// What the nibbles are mixed with: a linear congruential generator (Numerical Recipes' constants), of each of whose states the
/// remainder by 255.
struct Noise(u32);

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((self.0 % 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that A1111's own check has.
    #[test]
    fn noise_is_that_of_a1111() {
        let first: Vec<u8> = Noise(0).take(10).collect();
        assert_eq!(first, [253, 242, 127, 44, 157, 27, 239, 133, 38, 79]);
        assert_eq!(Noise(0).skip(100).take(100_000).map(u32::from).sum::<u32>(), 12_731_374);
    }

    #[test]
    fn a_picture_of_no_word_has_none() {
        for value in [0, 16, 77] {
            let png = Picture::plain(9, 7, value).png(None).unwrap();
            assert!(Picture::embedding("plain.png", &png).unwrap().is_none(), "{value}");
        }
        assert!(Picture::embedding("cut.png", &Picture::plain(9, 7, 1).png(None).unwrap()[..40]).is_err());
    }
}
