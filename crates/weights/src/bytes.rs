use calotype_tensor::LocalFuture;
use std::borrow::Cow;
use std::io;
use std::ops::Range;

/// An open file: mapped, in memory, or fetched piece by piece.
pub trait Bytes {
    /// How many bytes it has.
    fn size(&self) -> u64;

    /// Some of them.
    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>>;

    /// All of them, where they are at hand and cost nothing.
    fn whole(&self) -> Option<&[u8]> {
        None
    }

    /// Says that some will not be read soon.
    fn release(&self, _range: Range<u64>) {}
}

/// A part of what is in memory. Fails where the range is not within it.
pub(crate) fn part(bytes: &[u8], range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
    let range = Option::zip(usize::try_from(range.start).ok(), usize::try_from(range.end).ok());
    let part = range.and_then(|(start, end)| bytes.get(start..end));
    part.map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A file that is in memory already: embedded in the program, or fetched whole.
impl Bytes for Cow<'static, [u8]> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>> {
        Box::pin(std::future::ready(part(self, range)))
    }

    fn whole(&self) -> Option<&[u8]> {
        Some(self)
    }
}
