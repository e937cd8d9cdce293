//! What torch writes since 1.6: a zip archive with `data.pkl` and a member for each storage.
//!
//! The archive is read here and not by a library: torch's members are stored as they are, and only where they lie is wanted,
//! of files of many gigabytes, of which a library would search all where the directory at the end is cut off. Format:
//! PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.

use super::machine::{MOST_BYTES, Pickle};
use super::torch::{Meaning, Storage};
use super::{listing, names};
use crate::files::others::view::{Cursor, Fault, Parsed, View, damaged, foreign, quote};
use crate::files::{Format, Header};
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

/// The end of the central directory.
const END: [u8; 4] = *b"PK\x05\x06";
/// Its length, without the archive's comment.
const END_BYTES: u64 = 22;
/// The longest comment.
const LONGEST_COMMENT: u64 = 0xffff;
/// The locator of the wide end, in front of the end.
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
/// The wide end.
const WIDE_END: [u8; 4] = *b"PK\x06\x06";
/// A member in the directory.
const MEMBER: [u8; 4] = *b"PK\x01\x02";
/// The least it takes.
const MEMBER_BYTES: u64 = 46;
/// A member where it lies.
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// The extra field with sizes of eight bytes.
const WIDE: u16 = 1;

/// A member of the archive.
struct Member {
    /// 0: stored as it is; 8: deflated.
    method: u16,
    /// Bytes in the archive, and in truth.
    stored: u64,
    size: u64,
    /// Where its local header is.
    at: u64,
}

type Members = HashMap<String, Member>;

/// Reads a file of this container.
pub(in crate::files::others) fn zip(file: View<'_>) -> Parsed<Header> {
    let members = directory(file)?;
    let Some(folder) =
        members.keys().filter_map(|name| name.strip_suffix("data.pkl")).min_by_key(|f| f.len())
    else {
        return foreign(other(&members));
    };
    let whole =
        |name: &str| members.get(&format!("{folder}{name}")).map(|member| member.whole(file)).transpose();
    let pickle = whole("data.pkl")?.unwrap_or_default();
    let pieces = [(0, pickle)];
    let pickle = Pickle::read(View::new(pieces[0].1.len() as u64, &pieces), 0)?;
    let big_endian = match whole("byteorder")?.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => return damaged("its byteorder is neither little nor big"),
    };
    let place = |storage: &Storage| {
        let name = format!("{folder}data/{}", storage.key);
        let Some(member) = members.get(&name) else {
            return damaged(format!("it has no member {}; download it again", quote(&name)));
        };
        if member.method != 0 {
            return foreign(format!(
                "its member {} is compressed, which torch's are not: unpack the archive and pack it again without \
                 (zip -0)",
                quote(&name)
            ));
        }
        let range = member.place(file)?;
        let [_, unit] = storage.encoding.block();
        let end = storage.offset.saturating_add(storage.count).saturating_mul(unit as u64);
        match range.end - range.start >= end {
            true => Ok(range.start..range.start + end),
            false => damaged(format!(
                "its member {} has {} bytes, and its pickle speaks of {end}",
                quote(&name),
                range.end - range.start
            )),
        }
    };
    listing(Format::Zip, file, names::weights(&Meaning::new(&pickle))?, big_endian, place)
}

/// What an archive is that is not torch's.
fn other(members: &Members) -> String {
    let has = |part: &str| members.keys().any(|name| name.contains(part));
    match () {
        () if has(".npy") => "a zip archive of NumPy arrays (.npz), which are no model's weights",
        () if has("model.weights.h5") => {
            "a Keras model (.keras); unpack it and take the model.weights.h5 that is in it"
        }
        () if has(".safetensors") || has("_index.json") => "a zip archive with a model in it: unpack it",
        () if has(".ckpt") || has(".pt") || has(".bin") => "a zip archive with weights in it: unpack it",
        () => "a zip archive, but none of torch's: there is no data.pkl in it",
    }
    .into()
}

/// The members, by name.
fn directory(file: View<'_>) -> Parsed<Members> {
    let (count, len, at) = end(file)?;
    if count > len / MEMBER_BYTES {
        return damaged(format!("its directory of {len} bytes cannot hold {count} members"));
    }
    file.check(at, len)?;
    let mut at = file.cursor(at);
    let mut members = Members::new();
    for _ in 0..count {
        let (name, member) = member(&mut at)?;
        members.insert(name, member);
    }
    Ok(members)
}

/// How many members there are, and the length and the place of their directory.
fn end(file: View<'_>) -> Parsed<(u64, u64, u64)> {
    let cut = || {
        Fault::Damaged(
            "the directory at its end is missing: the download stopped too early; download it again".into(),
        )
    };
    let tail_len = file.len().min(END_BYTES + LONGEST_COMMENT);
    let start = file.len() - tail_len;
    let tail = file.get(start, tail_len)?;
    let found = tail.windows(END.len()).rposition(|window| window == END).ok_or_else(cut)?;
    let end = start + found as u64;
    file.check(end, END_BYTES)?;
    let mut at = file.cursor(end + 10);
    let narrow = (u64::from(at.u16()?), u64::from(at.u32()?), u64::from(at.u32()?));
    let Some(locator) =
        end.checked_sub(LOCATOR_BYTES).filter(|_| narrow.2 == u64::from(u32::MAX) || narrow.0 == 0xffff)
    else {
        return Ok(narrow);
    };
    let mut at = file.cursor(locator);
    if at.array()? != LOCATOR {
        return Ok(narrow);
    }
    at.skip(4)?;
    let mut at = file.cursor(at.u64()?);
    if at.array()? != WIDE_END {
        return damaged("its wide directory is not where it should be");
    }
    at.skip(28)?;
    Ok((at.u64()?, at.u64()?, at.u64()?))
}

fn member(at: &mut Cursor<'_>) -> Parsed<(String, Member)> {
    if at.array()? != MEMBER {
        return damaged("its directory is damaged; download it again");
    }
    at.skip(4)?;
    let flags = at.u16()?;
    let method = at.u16()?;
    at.skip(8)?;
    let (mut stored, mut size) = (u64::from(at.u32()?), u64::from(at.u32()?));
    let [name_len, extra_len, comment_len] = [at.u16()?, at.u16()?, at.u16()?].map(u64::from);
    at.skip(8)?;
    let mut place = u64::from(at.u32()?);
    let name = String::from_utf8_lossy(at.take(name_len)?).into_owned();
    if flags & 1 != 0 {
        return foreign(format!("its member {} is encrypted", quote(&name)));
    }
    let end = at.at + extra_len;
    while at.at + 4 <= end {
        let (kind, len) = (at.u16()?, u64::from(at.u16()?));
        let next = at.at + len;
        if kind == WIDE {
            // Only those are there that did not fit into four bytes.
            for value in [&mut size, &mut stored, &mut place] {
                if *value == u64::from(u32::MAX) && at.at + 8 <= next {
                    *value = at.u64()?;
                }
            }
        }
        at.at = next;
    }
    at.at = end;
    at.skip(comment_len)?;
    Ok((name, Member { method, stored, size, at: place }))
}

impl Member {
    /// Where its bytes are: behind its own header, which torch pads.
    fn place(&self, file: View<'_>) -> Parsed<Range<u64>> {
        let mut at = file.cursor(self.at);
        if at.array()? != LOCAL {
            return damaged("a member is not where its directory says; download it again");
        }
        at.skip(22)?;
        let [name, extra] = [at.u16()?, at.u16()?].map(u64::from);
        let start = at.at + name + extra;
        file.check(start, self.stored)?;
        Ok(start..start + self.stored)
    }

    /// All of its bytes, which may be compressed.
    fn whole<'a>(&self, file: View<'a>) -> Parsed<Cow<'a, [u8]>> {
        if self.size > MOST_BYTES {
            return damaged("its pickle is longer than any of weights");
        }
        let range = self.place(file)?;
        let bytes = file.get(range.start, range.end - range.start)?;
        match self.method {
            0 => Ok(bytes.into()),
            8 => {
                let mut out = Vec::new();
                // No more than it says it is.
                let read = DeflateDecoder::new(bytes).take(self.size).read_to_end(&mut out);
                match read {
                    Ok(len) if len as u64 == self.size => Ok(out.into()),
                    _ => damaged("its pickle cannot be unpacked; download it again"),
                }
            }
            method => foreign(format!("its pickle is packed by method {method}")),
        }
    }
}
