//! The texts that picture files carry, by keyword: PNG's text chunks, and of JPEG and WebP what stands in EXIF.

use super::bad;
use crate::error::Result;
use std::io::Cursor;
use std::path::Path;

/// What PNG files begin with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Whether a file begins as a picture does whose texts can be read.
pub fn is_picture(bytes: &[u8]) -> bool {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    bytes.starts_with(PNG) || bytes.starts_with(b"\xff\xd8\xff") || webp
}

/// Whether a file's name ends as a picture's does.
pub fn names_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg", "webp"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The texts of a picture, keyword and text; A1111's own, wherever it stands, as `parameters`.
pub fn texts(file: &[u8]) -> Result<Vec<(String, String)>> {
    let mut found = if file.starts_with(PNG) { png(file)? } else { Vec::new() };
    // In a picture that has both, EXIF's goes before.
    #[cfg(not(target_arch = "wasm32"))]
    found.splice(0..0, exif::texts(file));
    found.retain(|(_, text)| !text.trim().is_empty());
    Ok(found)
}

fn png(file: &[u8]) -> Result<Vec<(String, String)>> {
    let failed = |e: png::DecodingError| bad(format!("not readable: {e}"));
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().map_err(failed)?;
    // Some writers put text after the pixels.
    reader.finish().map_err(failed)?;
    let info = reader.info();
    let mut found = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        found.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.utf8_text {
        found.push((chunk.keyword.clone(), chunk.get_text().map_err(failed)?));
    }
    for chunk in &info.compressed_latin1_text {
        found.push((chunk.keyword.clone(), chunk.get_text().map_err(failed)?));
    }
    Ok(found)
}

#[cfg(not(target_arch = "wasm32"))]
mod exif {
    use super::super::KEYWORD;
    use exif::{Field, Tag, Value};
    use std::io::Cursor;

    /// What stands in EXIF, and in JPEG's comments. A file without is no fault, and what cannot be read is not there.
    pub fn texts(file: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Ok(read) =
            exif::Reader::new().continue_on_error(true).read_from_container(&mut Cursor::new(file))
        {
            found.extend(read.fields().filter_map(text));
        }
        found.extend(comments(file));
        found
    }

    /// A1111 writes a user comment; ComfyUI writes `prompt:{…}` and `workflow:{…}` as maker and model.
    fn text(field: &Field) -> Option<(String, String)> {
        match (field.tag, &field.value) {
            (Tag::UserComment, Value::Undefined(bytes, _)) => Some((KEYWORD.into(), comment(bytes))),
            (Tag::Make | Tag::Model | Tag::ImageDescription, Value::Ascii(parts)) => {
                let text = String::from_utf8_lossy(parts.first()?);
                let (name, text) = text.split_once(':')?;
                text.starts_with('{').then(|| (name.to_string(), text.to_string()))
            }
            _ => None,
        }
    }

    /// A user comment by the code that it names: 16 bits a character, the higher byte first, unless that is no text.
    fn comment(bytes: &[u8]) -> String {
        let Some((code, text)) = bytes.split_at_checked(8) else {
            return String::from_utf8_lossy(bytes).into_owned();
        };
        let wide = |from: fn([u8; 2]) -> u16| {
            let units = text.as_chunks().0.iter().map(|pair| from(*pair));
            char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>()
        };
        let plain = |text: &str| text.chars().filter(char::is_ascii).count();
        match code {
            b"UNICODE\0" => {
                let [big, little] = [wide(u16::from_be_bytes), wide(u16::from_le_bytes)];
                let text = if plain(&little) > plain(&big) { little } else { big };
                text.trim_start_matches('\u{feff}').into()
            }
            b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0" => String::from_utf8_lossy(text).into_owned(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// JPEG's comments that begin with a keyword, as stable-diffusion.cpp writes one.
    fn comments(file: &[u8]) -> Vec<(String, String)> {
        let (mut found, mut rest) = (Vec::new(), file.strip_prefix(b"\xff\xd8").unwrap_or(&[]));
        while let [0xff, kind, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).saturating_sub(2);
            let Some((segment, next)) = after.split_at_checked(length) else { break };
            if *kind == 0xfe {
                let text = segment.strip_prefix(KEYWORD.as_bytes()).and_then(|text| text.strip_prefix(b"\0"));
                found.extend(text.map(|text| (KEYWORD.into(), String::from_utf8_lossy(text).into_owned())));
            }
            // Pixels begin.
            if *kind == 0xda {
                break;
            }
            rest = next;
        }
        found
    }
}
