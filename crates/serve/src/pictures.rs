//! Pictures in bodies.

use crate::problem::Problem;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use calotype::image::PictureFormat;
use calotype::{Error, Mask, Picture};
use std::collections::VecDeque;

/// The bytes that a text holds: base64, or a `data:` address of it. Any other address is refused, and never fetched.
pub fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    let base64 = match text.strip_prefix("data:").map(|rest| rest.split_once(";base64,")) {
        Some(Some((_, base64))) => base64,
        None if !text.contains("://") => text,
        _ => {
            let why = format!("{field}: addresses are not fetched: send the picture itself, as base64");
            return Err(Problem::field(field, why));
        }
    };
    let whole: String = base64.chars().filter(|c| !c.is_whitespace()).collect();
    BASE64_STANDARD.decode(whole).map_err(|_| Problem::field(field, format!("{field}: no base64")))
}

/// The picture that a text holds.
pub async fn read(field: &'static str, text: &str) -> Result<Picture, Problem> {
    decoded(field, text, Picture::read).await
}

/// The mask that a text holds.
pub async fn read_mask(field: &'static str, text: &str) -> Result<Mask, Problem> {
    decoded(field, text, Mask::read).await
}

/// What is made of a text's bytes, where nobody else waits for it.
async fn decoded<T: Send + 'static>(
    field: &'static str,
    text: &str,
    read: fn(&str, &[u8]) -> Result<T, Error>,
) -> Result<T, Problem> {
    let bytes = bytes(field, text)?;
    let read = tokio::task::spawn_blocking(move || read(field, &bytes));
    let failed = |why: String| Problem::field(field, why);
    read.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

/// A picture as a file.
pub async fn encode(
    picture: Picture,
    format: PictureFormat,
    settings: Option<String>,
) -> Result<Vec<u8>, Problem> {
    let encode = tokio::task::spawn_blocking(move || picture.encoded(format, settings.as_deref()));
    encode.await.map_err(|e| Problem::bad(e.to_string()))?.map_err(|e| Problem::bad(e.to_string()))
}

/// The same as text.
pub fn base64(file: &[u8]) -> String {
    BASE64_STANDARD.encode(file)
}

/// The last pictures that answers named by an address.
#[derive(Default)]
pub struct Kept(VecDeque<(String, PictureFormat, Vec<u8>)>);

/// As many as are kept.
const KEPT: usize = 64;

impl Kept {
    /// Keeps a file, in the place of the oldest where there are many. What it is called from now on nobody can guess: who is
    /// told it needs no key.
    pub fn keep(&mut self, format: PictureFormat, file: Vec<u8>) -> Result<String, Problem> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|e| Problem::bad(format!("no random numbers: {e}")))?;
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((name.clone(), format, file));
        Ok(name)
    }

    /// A file that is kept.
    pub fn get(&self, name: &str) -> Option<(PictureFormat, Vec<u8>)> {
        self.0.iter().find(|(known, ..)| known == name).map(|(_, format, file)| (*format, file.clone()))
    }
}

/// What HTTP calls a format.
pub fn media_type(format: PictureFormat) -> &'static str {
    match format {
        PictureFormat::Png => "image/png",
        PictureFormat::Jpeg(_) => "image/jpeg",
        PictureFormat::WebP => "image/webp",
    }
}
