//! What a file is, by its first bytes.

use super::{Format, safetensors};
use crate::Error;

/// torch's magic number as a pickle has it (`MAGIC_NUMBER` in its `serialization.py`).
const LEGACY: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Where it is: behind the protocol, and since the fourth behind a frame's length too.
const LEGACY_AT: [usize; 2] = [2, 11];
/// Where the header of a tar archive's member says that it is one.
const TAR_AT: usize = 257;

/// The format that a file begins as.
pub(super) fn format(head: &[u8]) -> Option<Format> {
    let at = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    Some(match head {
        [b'P', b'K', 3 | 5 | 7, 4 | 6 | 8, ..] => Format::Zip,
        [0x80, ..] if LEGACY_AT.iter().any(|&start| at(start, &LEGACY)) => Format::Legacy,
        [b'G', b'G', b'U', b'F', ..] => Format::Gguf,
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => Format::Hdf5,
        _ if at(TAR_AT, b"ustar") => Format::Tar,
        head if safetensors::begins(head) => Format::Safetensors,
        _ => return None,
    })
}

/// The error for a file that begins as no format does.
pub(super) fn error(place: &str, head: &[u8]) -> Error {
    // Of this few bytes nothing can be told.
    const FEWEST: u64 = 8;
    match head.len() as u64 {
        has @ 1..FEWEST => Error::Truncated { place: place.into(), needs: FEWEST, has },
        _ => Error::NotWeights { place: place.into(), why: what(head) },
    }
}

/// What a file's first bytes are of, where no format here begins like that.
fn what(head: &[u8]) -> String {
    if let Some(what) = mishap(head) {
        return what.into();
    }
    let known = match head {
        [] => "it is empty; download it again",
        [0x80, 2..=5, ..] => "it is a Python pickle, but none of PyTorch's weights",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "it is an array of NumPy's",
        [b'g', b'g', b'm', b'l', ..]
        | [b'l', b'm', b'g', b'g', ..]
        | [b't' | b'f', b'j' | b'm', b'g', b'g', ..] => {
            "it is ggml's format before GGUF; convert the model anew"
        }
        [0x1f, 0x8b, ..] => "it is packed by gzip: unpack it",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is packed by Zstandard: unpack it",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "it is packed by xz: unpack it",
        [b'7', b'z', 0xbc, 0xaf, ..] => "it is a 7z archive: unpack it",
        [b'R', b'a', b'r', b'!', ..] => "it is a RAR archive: unpack it",
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            "it is a picture"
        }
        [b'R', b'I', b'F', b'F', ..] => "it is a picture or a film",
        [b'%', b'P', b'D', b'F', ..] => "it is a PDF",
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => "it is a program",
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => "it is a TensorFlow Lite model, which is not read",
        [8, 3..=12, 0x12, ..] | [8, 3..=12, b':', ..] => "it is an ONNX model, which is not read",
        [b'{', ..] => "it is JSON",
        head if head.iter().all(|&b| b == 0) => {
            "it begins with zeros: the download made room for it and did not fill it; download it again"
        }
        head => return text(head).unwrap_or_else(|| "its first bytes are of no format that is read".into()),
    };
    known.into()
}

/// What stands in a file's place after the usual mishaps of a download, told by its first bytes; nothing where it may be
/// the file itself.
pub fn mishap(head: &[u8]) -> Option<&'static str> {
    match head.trim_ascii_start() {
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            Some("it is a Git LFS pointer; fetch the real file with `git lfs pull`")
        }
        [b'<', ..] => Some("it is a web page; the download needs another address or a login"),
        _ => None,
    }
}

/// A text, which may be what a server answered: its beginning.
fn text(head: &[u8]) -> Option<String> {
    const TOLD: usize = 60;
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let printable = |c: char| !c.is_control() || c.is_whitespace();
    let line = text.trim().lines().next().filter(|_| text.chars().all(printable))?;
    let begin: String = line.chars().take(TOLD).collect();
    let more = if line.len() > begin.len() { "…" } else { "" };
    Some(format!("it is text, and begins with: {begin}{more}"))
}
