//! The formats besides safetensors.
//!
//! Each is a function that is given a `View` of the file and returns a [`Header`]. What it asks for and has not been fetched is
//! fetched, and it begins again: so one function serves files that are mapped, in memory, and far away.

pub(super) mod gguf;
mod hdf5;
mod pickle;
mod view;

use super::{Format, Header, Source, told};
use crate::{Error, Result};

/// Reads a file that begins as the format does; `head` is its beginning.
pub async fn list(file: &Source<'_>, format: Option<Format>, head: &[u8]) -> Result<Header> {
    let parser = match format {
        Some(Format::Zip) => pickle::zip,
        Some(Format::Legacy) => pickle::legacy,
        Some(Format::Tar) => pickle::tar,
        Some(Format::Gguf) => gguf::parse,
        Some(Format::Hdf5) => hdf5::parse,
        // HDF5 may have a block of the user's in front.
        Some(Format::Safetensors) | None => match parse(file, Format::Hdf5, hdf5::start).await? {
            Some(_) => hdf5::parse,
            None => return Err(told::error(file.place, head)),
        },
    };
    parse(file, format.unwrap_or(Format::Hdf5), |view| distinct(parser(view)?)).await
}

/// What a parser makes of a file.
async fn parse<T>(
    file: &Source<'_>,
    format: Format,
    parser: impl Fn(view::View<'_>) -> view::Parsed<T>,
) -> Result<T> {
    use view::Fault;
    let place = || file.place.to_owned();
    let io = |error| Error::Io { path: file.place.into(), error };
    view::parse(file.bytes, parser).await.map_err(io)?.map_err(|fault| match fault {
        Fault::Short { needs, has } => Error::Truncated { place: place(), needs, has },
        Fault::Foreign(why) => Error::Unread { place: place(), format, why },
        other => Error::Damaged { place: place(), format, why: other.to_string() },
    })
}

/// Fails where two tensors have one name.
fn distinct(header: Header) -> view::Parsed<Header> {
    let mut seen = std::collections::HashSet::new();
    match header.tensors.iter().find(|entry| !seen.insert(&entry.name)) {
        Some(entry) => view::damaged(format!("two tensors in it are called {}", view::quote(&entry.name))),
        None => Ok(header),
    }
}
