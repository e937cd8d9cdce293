//! What datasets and attributes hold: number types, shapes, where the numbers are (IV.A.2).

use super::file::{File, Message, kind};
use crate::files::chunks::{Chunks, Filter};
use crate::files::entry::size;
use crate::files::others::view::{Cursor, Parsed, damaged};
use crate::files::{Arrangement, Entry};
use calotype_tensor::Encoding;

/// The most axes of a dataset.
const MOST_AXES: u8 = 32;

/// A datatype, as far as it matters.
#[derive(Clone, Copy)]
pub(super) enum Type {
    /// A number, and whether it is big-endian.
    Number(Encoding, bool),
    /// Text of so many bytes.
    Text(u64),
    /// Text in the global heap.
    LongText,
    Other(&'static str),
}

impl Type {
    /// Reads a datatype message.
    pub fn read(at: &mut Cursor<'_>) -> Parsed<Self> {
        let class = at.u8()? & 15;
        let bits = at.uint(3)?;
        let size = at.u32()?;
        let big = bits & 1 != 0;
        let signed = bits & 8 != 0;
        Ok(match class {
            0 => {
                let (shift, precision) = (at.u16()?, at.u16()?);
                match (size, signed) {
                    _ if shift != 0 || u32::from(precision) != 8 * size => {
                        Self::Other("integers of odd widths")
                    }
                    (1, true) => Self::Number(Encoding::I8, big),
                    (1, false) => Self::Number(Encoding::U8, big),
                    (2, true) => Self::Number(Encoding::I16, big),
                    (2, false) => Self::Number(Encoding::U16, big),
                    (4, true) => Self::Number(Encoding::I32, big),
                    (4, false) => Self::Number(Encoding::U32, big),
                    (8, true) => Self::Number(Encoding::I64, big),
                    (8, false) => Self::Number(Encoding::U64, big),
                    _ => Self::Other("integers of odd widths"),
                }
            }
            1 => {
                at.skip(4)?;
                let [_, exponent, _, mantissa] = at.array()?;
                match (size, exponent, mantissa) {
                    _ if bits & 0x40 != 0 => Self::Other("VAX's numbers"),
                    (2, 5, 10) => Self::Number(Encoding::F16, big),
                    (2, 8, 7) => Self::Number(Encoding::BF16, big),
                    (4, 8, 23) => Self::Number(Encoding::F32, big),
                    (8, 11, 52) => Self::Number(Encoding::F64, big),
                    _ => Self::Other("numbers of odd widths"),
                }
            }
            3 => Self::Text(size.into()),
            // h5py's truth values: an enumeration of bytes.
            8 => match Self::read(at)? {
                Self::Number(Encoding::I8 | Encoding::U8, _) => Self::Number(Encoding::Bool, false),
                _ => Self::Other("an enumeration"),
            },
            9 if bits & 15 == 1 => Self::LongText,
            6 => Self::Other("records of several fields"),
            7 => Self::Other("references"),
            9 => Self::Other("lists of several lengths"),
            10 => Self::Other("arrays in arrays"),
            _ => Self::Other("an odd type"),
        })
    }
}

/// Reads a dataspace message: its axes; none where there is no value at all.
pub(super) fn shape(file: &File<'_>, at: &mut Cursor<'_>) -> Parsed<Option<Vec<u64>>> {
    let (version, axes, _flags) = (at.u8()?, at.u8()?, at.u8()?);
    let null = match version {
        1 => at.skip(5).map(|()| false)?,
        2 => at.u8()? == 2,
        other => return damaged(format!("a dataspace has version {other}")),
    };
    if axes > MOST_AXES {
        return damaged(format!("a dataset has {axes} axes"));
    }
    let shape = (0..axes).map(|_| at.uint(file.wide[1])).collect::<Parsed<_>>()?;
    Ok(Some(shape).filter(|_| !null))
}

/// Where a dataset's bytes are.
enum Place {
    Range(u64, u64),
    Chunks(Chunks),
    Unread(&'static str),
}

/// Reads a dataset. What cannot be read is listed as such, since others may be what is wanted.
pub(super) fn entry(file: &File<'_>, name: String, messages: &[Message]) -> Parsed<Entry> {
    let find = |kind| messages.iter().find(|message| message.kind == kind);
    let unread = |name, what| Ok(Entry::dense(name, Encoding::Unknown(what), Vec::new(), 0..0));
    let (Some(space), Some(datatype), Some(layout)) =
        (find(kind::DATASPACE), find(kind::DATATYPE), find(kind::LAYOUT))
    else {
        return damaged(format!("dataset {name} lacks its type, its shape or its place"));
    };
    if space.shared || datatype.shared || layout.shared {
        return unread(name, "a type that is kept elsewhere in the file");
    }
    if find(kind::EXTERNAL).is_some() {
        return unread(name, "numbers that are in another file");
    }
    let (encoding, big_endian) = match Type::read(&mut datatype.data(file))? {
        Type::Number(encoding, big_endian) => (encoding, big_endian),
        Type::Text(_) | Type::LongText => return unread(name, "text"),
        Type::Other(what) => return unread(name, what),
    };
    let Some(shape) = shape(file, &mut space.data(file))? else { return unread(name, "nothing") };
    let Some(shape) = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<Vec<_>>>() else {
        return damaged(format!("dataset {name} has shape {shape:?}, which overflows"));
    };
    let Some((numel, bytes)) = size(encoding, &shape) else {
        return damaged(format!("dataset {name} has shape {shape:?}, which overflows"));
    };
    let filters = match find(kind::FILTERS) {
        Some(message) => Filter::pipeline(&mut message.data(file))?,
        None => Ok(Vec::new()),
    };
    let place = match filters {
        Err(what) => Place::Unread(what),
        Ok(filters) => place(file, layout, &shape, encoding, filters)?,
    };
    let entry = match place {
        Place::Unread(what) if numel > 0 => return unread(name, what),
        Place::Unread(_) => Entry::dense(name, encoding, shape, 0..0),
        Place::Range(start, len) if len >= bytes => {
            file.view.check(start, bytes)?;
            Entry::dense(name, encoding, shape, start..start + bytes)
        }
        Place::Range(_, len) => {
            return damaged(format!(
                "dataset {name} has shape {shape:?}, of {bytes} bytes, and {len} are there"
            ));
        }
        Place::Chunks(chunks) => {
            let arrangement = Arrangement::Chunked(Box::new(chunks));
            Entry { arrangement, ..Entry::dense(name, encoding, shape, 0..0) }
        }
    };
    Ok(Entry { big_endian, ..entry })
}

fn place(
    file: &File<'_>,
    layout: &Message,
    shape: &[usize],
    encoding: Encoding,
    filters: Vec<Filter>,
) -> Parsed<Place> {
    const NEVER: Place = Place::Unread("nothing: it was never written");
    let mut at = layout.data(file);
    let version = at.u8()?;
    if !(3..=5).contains(&version) {
        return Ok(Place::Unread("a layout of the first HDF5"));
    }
    Ok(match at.u8()? {
        0 => {
            let len = at.u16()?.into();
            Place::Range(at.at, len)
        }
        1 => match (file.address(&mut at)?, file.length(&mut at)?) {
            (Some(address), len) => Place::Range(file.place(address), len),
            _ => NEVER,
        },
        2 => match Chunks::read_index(file, &mut at, version, shape, encoding, filters)? {
            Ok(chunks) => Place::Chunks(chunks),
            Err(what) => Place::Unread(what),
        },
        _ => Place::Unread("a view of other datasets"),
    })
}
