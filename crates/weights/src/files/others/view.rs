//! A file's bytes, asked for by range: what is not there is a [`Fault`], never a panic.
//!
//! Parsers are plain functions of a [`View`]. What they ask for and has not been fetched yet is a fault too, upon which
//! [`parse`] fetches it and begins again: so one parser serves files that are mapped and files that are far away.

use crate::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;

/// Why a file cannot be read, without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends too early.
    Short {
        /// Bytes that it speaks of.
        needs: u64,
        /// Bytes that are there.
        has: u64,
    },
    /// This part has not been fetched.
    Absent(Range<u64>),
    /// It breaks its format's rules.
    Damaged(String),
    /// It is sound as far as it was read, and holds something that is not read.
    Foreign(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needs, has } => write!(f, "{needs} bytes are needed, and {has} are there"),
            Self::Absent(Range { start, end }) => write!(f, "bytes {start}..{end} were not fetched"),
            Self::Damaged(why) | Self::Foreign(why) => f.write_str(why),
        }
    }
}

/// What parsers return.
pub(crate) type Parsed<T> = Result<T, Fault>;

/// A format's rule is broken.
pub(crate) fn damaged<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Fault::Damaged(why.into()))
}

/// Something is not read.
pub(crate) fn foreign<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Fault::Foreign(why.into()))
}

/// A name from a file, fit for a message of one line.
pub(crate) fn quote(name: &str) -> String {
    const LONGEST: usize = 80;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

/// What has been fetched of a file.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Bytes of the file.
    len: u64,
    /// Where each begins, and its bytes.
    pieces: &'a [(u64, Cow<'a, [u8]>)],
}

impl<'a> View<'a> {
    /// Pieces of a file of `len` bytes.
    pub fn new(len: u64, pieces: &'a [(u64, Cow<'a, [u8]>)]) -> Self {
        Self { len, pieces }
    }

    /// How many bytes the file has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fails where the file is too short for `len` bytes from `at`.
    pub fn check(&self, at: u64, len: u64) -> Parsed<()> {
        let needs = at.saturating_add(len);
        if needs > self.len { Err(Fault::Short { needs, has: self.len }) } else { Ok(()) }
    }

    /// `len` of its bytes from `at`.
    pub fn get(&self, at: u64, len: u64) -> Parsed<&'a [u8]> {
        let needs = at.saturating_add(len);
        self.check(at, len)?;
        // What was fetched last is asked for first.
        let piece = self.pieces.iter().rev().find_map(|(start, bytes)| {
            let from = usize::try_from(at.checked_sub(*start)?).ok()?;
            bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
        });
        piece.ok_or(Fault::Absent(at..needs))
    }

    /// Reads on from `at`.
    pub fn cursor(self, at: u64) -> Cursor<'a> {
        Cursor { view: self, at }
    }
}

/// Reads little-endian numbers one after another.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    view: View<'a>,
    /// Where it is.
    pub at: u64,
}

impl<'a> Cursor<'a> {
    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Parsed<&'a [u8]> {
        let bytes = self.view.get(self.at, len)?;
        self.at += len;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let bytes = self.take(N as u64)?;
        Ok(*bytes.first_chunk().expect("as many as were asked for"))
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.view.len().saturating_sub(self.at)
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: u64) -> Parsed<()> {
        self.take(len).map(drop)
    }

    /// Text up to and including a newline, without it.
    pub fn line(&mut self) -> Parsed<&'a [u8]> {
        const LONGEST: u64 = 512;
        let rest = self.view.get(self.at, self.left().min(LONGEST))?;
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return damaged("a name in it does not end");
        };
        self.at += end as u64 + 1;
        Ok(&rest[..end])
    }

    /// An unsigned number of `size` bytes, at most eight.
    pub fn uint(&mut self, size: u8) -> Parsed<u64> {
        let bytes = self.take(size.into())?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// A byte.
    pub fn u8(&mut self) -> Parsed<u8> {
        self.array().map(|[b]| b)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Parsed<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Parsed<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// Bytes that are fetched at a time, at least: a request costs more than they do.
const PIECE: u64 = 1 << 18;

/// Has `parser` read a file of which `bytes` fetches what is asked for. Fails with what the parser says, or with what
/// fetching does.
pub(crate) async fn parse<T>(
    bytes: &dyn Bytes,
    parser: impl Fn(View<'_>) -> Parsed<T>,
) -> io::Result<Parsed<T>> {
    let len = bytes.size();
    let mut pieces: Vec<(u64, Cow<'_, [u8]>)> = Vec::new();
    if let Some(whole) = bytes.whole() {
        pieces.push((0, Cow::Borrowed(whole)));
    }
    loop {
        match parser(View::new(len, &pieces)) {
            Err(Fault::Absent(Range { start, end })) => {
                // Twice as much where it reads on.
                let more = match pieces.last() {
                    Some((at, last)) if (*at..=at + last.len() as u64).contains(&start) => {
                        2 * last.len() as u64
                    }
                    _ => 0,
                };
                let end = end.max(start.saturating_add(more.max(PIECE))).min(len);
                pieces.push((start, bytes.read(start..end).await?));
            }
            done => return Ok(done),
        }
    }
}
