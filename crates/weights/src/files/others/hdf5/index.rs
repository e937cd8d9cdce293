//! Where a dataset's chunks are, by the indices of all versions (III.A.1, IV.A.2.i, IV.A.2.l, VII).

use super::file::File;
use crate::files::chunks::{Chunks, Filter, Place};
use crate::files::entry::size;
use crate::files::others::view::{Cursor, Parsed, damaged};
use calotype_tensor::Encoding;

/// Deflate makes nothing smaller than that (zlib's technical details: 1032 to 1).
const SMALLEST: u64 = 1032;
/// The deepest tree.
const DEEPEST: u8 = 16;
/// The most filters.
const MOST_FILTERS: u8 = 32;

impl Filter {
    /// Reads a filter message: the filters in the order in which they were applied, or the one that is not known.
    pub fn pipeline(at: &mut Cursor<'_>) -> Parsed<Result<Vec<Self>, &'static str>> {
        let (version, count) = (at.u8()?, at.u8()?);
        if count > MOST_FILTERS || !(1..=2).contains(&version) {
            return damaged("a dataset's filters are damaged");
        }
        at.skip(if version == 1 { 6 } else { 0 })?;
        let mut filters = Vec::new();
        for _ in 0..count {
            let id = at.u16()?;
            let name_len = if version == 1 || id >= 256 { at.u16()? } else { 0 };
            let (_flags, values) = (at.u16()?, u64::from(at.u16()?));
            at.skip(name_len.into())?;
            let padding = if version == 1 { values % 2 } else { 0 };
            at.skip(4 * (values + padding))?;
            filters.push(match id {
                1 => Self::Deflate,
                2 => Self::Shuffle,
                3 => Self::Fletcher32,
                4 => return Ok(Err("numbers packed by szip")),
                5 | 6 => return Ok(Err("numbers packed by bits")),
                32000 => return Ok(Err("numbers packed by LZF")),
                32001 => return Ok(Err("numbers packed by Blosc")),
                32004 => return Ok(Err("numbers packed by LZ4")),
                32015 => return Ok(Err("numbers packed by Zstandard")),
                _ => return Ok(Err("numbers packed by a filter of a plugin")),
            });
        }
        Ok(Ok(filters))
    }
}

/// What an index has of a chunk: its number, and where it is.
type Found = (usize, Place);

impl Chunks {
    /// Reads the rest of a layout message and the index that it names; what is not read is named.
    pub(super) fn read_index(
        file: &File<'_>,
        at: &mut Cursor<'_>,
        version: u8,
        shape: &[usize],
        encoding: Encoding,
        filters: Vec<Filter>,
    ) -> Parsed<Result<Self, &'static str>> {
        // The fifth version of HDF5 2.0 is the fourth with wider sizes in its index.
        let newer = version > 3;
        let flags = if newer { at.u8()? } else { 0 };
        let axes = usize::from(at.u8()?);
        let [_, element] = encoding.block();
        if axes != shape.len() + 1 || shape.is_empty() {
            return damaged("a dataset's chunks have other axes than it has");
        }
        let tree = if newer { None } else { Some(file.address(at)?) };
        let width = if newer { at.u8()?.clamp(1, 8) } else { 4 };
        let mut dims = Vec::new();
        for _ in 0..axes {
            dims.push(usize::try_from(at.uint(width)?).unwrap_or(usize::MAX));
        }
        // The last one is the element.
        let whole = dims.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis as u64));
        let Some(whole) = whole.filter(|&n| n > 0 && n <= u32::MAX.into() && dims.pop() == Some(element))
        else {
            return damaged("a dataset's chunks have no sound shape");
        };
        let grid: Vec<usize> = shape.iter().zip(&dims).map(|(&axis, &chunk)| axis.div_ceil(chunk)).collect();
        let Some(count) = grid.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis)) else {
            return damaged("a dataset has endless chunks");
        };
        let mut chunks = Self { shape: dims, grid, element, filters, places: Vec::new() };
        if count as u64 > file.view.len() {
            return Ok(Err("chunks that were never written"));
        }
        let found = match tree {
            Some(None) => Vec::new(),
            Some(Some(root)) => {
                let mut found = Vec::new();
                chunks.tree(file, root, DEEPEST, count, &mut found)?;
                found
            }
            None => match chunks.index(file, at, flags, whole, count)? {
                Ok(found) => found,
                Err(what) => return Ok(Err(what)),
            },
        };
        let mut places = vec![None; count];
        for (number, place) in found {
            if let Some(slot) = places.get_mut(number) {
                *slot = Some(place);
            }
        }
        let Some(places) = places.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(Err("chunks that were never written"));
        };
        for place in &places {
            file.view.check(place.at, place.len)?;
            let most = if chunks.applied(place).any(|f| f == Filter::Deflate) {
                SMALLEST * place.len
            } else {
                place.len
            };
            if whole > most.saturating_add(64) {
                return damaged("a chunk is too short for what it should hold");
            }
        }
        // The same bytes may stand for several chunks, but not for more than the whole file could.
        let most = if chunks.filters.contains(&Filter::Deflate) { SMALLEST } else { 1 };
        if size(encoding, shape).is_none_or(|(_, bytes)| bytes > file.view.len().saturating_mul(most)) {
            return damaged("a dataset has more elements than the file could hold");
        }
        chunks.places = places;
        Ok(Ok(chunks))
    }

    /// The first kind of tree.
    fn tree(&self, file: &File<'_>, node: u64, depth: u8, most: usize, found: &mut Vec<Found>) -> Parsed<()> {
        let mut at = file.at(node);
        file.expect(&mut at, b"TREE")?;
        let (kind, level, count) = (at.u8()?, at.u8()?, at.u16()?);
        at.skip(2 * u64::from(file.wide[0]))?;
        if kind != 1 || level >= depth {
            return damaged("the tree of a dataset's chunks is damaged");
        }
        for _ in 0..count {
            file.step()?;
            let (len, skipped) = (at.u32()?, at.u32()?);
            let mut number = 0;
            for (&chunk, &axis) in self.shape.iter().zip(&self.grid) {
                let offset = usize::try_from(at.u64()?).unwrap_or(usize::MAX);
                number = if offset / chunk < axis { number * axis + offset / chunk } else { most };
            }
            at.skip(8)?;
            let Some(child) = file.address(&mut at)? else { return damaged("a chunk has no place") };
            if level > 0 {
                self.tree(file, child, level, most, found)?;
            } else if found.len() < 2 * most {
                found.push((number, Place { at: file.place(child), len: len.into(), skipped }));
            }
        }
        Ok(())
    }

    /// One of the newer indices.
    fn index(
        &self,
        file: &File<'_>,
        at: &mut Cursor<'_>,
        flags: u8,
        whole: u64,
        count: usize,
    ) -> Parsed<Result<Vec<Found>, &'static str>> {
        let plain = |address: u64| Place { at: file.place(address), len: whole, skipped: 0 };
        Ok(Ok(match at.u8()? {
            1 if flags & 2 != 0 => {
                let (len, skipped) = (file.length(at)?, at.u32()?);
                let place = |address| Place { at: file.place(address), len, skipped };
                file.address(at)?.map(|address| (0, place(address))).into_iter().collect()
            }
            1 => file.address(at)?.map(|address| (0, plain(address))).into_iter().collect(),
            2 => {
                let first = file.address(at)?;
                let place =
                    |i: usize| first.map(|a| (i, plain(a.saturating_add((i as u64).saturating_mul(whole)))));
                (0..count).filter_map(place).collect()
            }
            3 => {
                at.skip(1)?;
                let Some(header) = file.address(at)? else { return Ok(Ok(Vec::new())) };
                self.array(file, header, whole, count)?
            }
            _ => return Ok(Err("a dataset that may grow")),
        }))
    }

    /// A fixed array (VII.C).
    fn array(&self, file: &File<'_>, header: u64, whole: u64, count: usize) -> Parsed<Vec<Found>> {
        let mut at = file.at(header);
        file.expect(&mut at, b"FAHD")?;
        at.skip(1)?;
        let (filtered, entry, page_bits) = (at.u8()? == 1, u64::from(at.u8()?), at.u8()?);
        let entries = file.length(&mut at)?;
        let Some(block) = file.address(&mut at)? else { return Ok(Vec::new()) };
        let address = u64::from(file.wide[0]);
        if page_bits > 30
            || entries < count as u64
            || filtered && !(address + 5..=address + 12).contains(&entry)
        {
            return damaged("the index of a dataset's chunks is damaged");
        }
        let mut at = file.at(block);
        file.expect(&mut at, b"FADB")?;
        at.skip(2 + address)?;
        let page = 1u64 << page_bits;
        let paged = entries > page;
        if paged {
            // A bit for each page that was written, and a sum.
            at.skip(entries.div_ceil(page).div_ceil(8) + 4)?;
        }
        let mut found = Vec::new();
        for i in 0..count {
            if paged && i > 0 && (i as u64).is_multiple_of(page) {
                at.skip(4)?;
            }
            let chunk = file.address(&mut at)?;
            let (len, skipped) = match filtered {
                true => (at.uint((entry - address - 4) as u8)?, at.u32()?),
                false => (whole, 0),
            };
            found.extend(chunk.map(|chunk| (i, Place { at: file.place(chunk), len, skipped })));
        }
        Ok(found)
    }
}
