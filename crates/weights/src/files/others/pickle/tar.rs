//! What torch wrote before 0.1.10: a tar archive of `storages`, `tensors` and `pickle`, whose objects stand for the
//! tensors' keys (`legacy_load` in torch's `serialization.py`).

use super::machine::Pickle;
use super::torch::{Meaning, Storage, Tensor};
use super::{bytes, listing, names};
use crate::files::others::view::{Cursor, Parsed, View, damaged, foreign, quote};
use crate::files::{Format, Header};
use std::collections::HashMap;
use std::ops::Range;

/// A member's header, and what members are padded to.
const RECORD: u64 = 512;
/// The most axes of a tensor.
const MOST_AXES: i32 = 64;

/// Where the storages' numbers are, by their keys.
type Places = HashMap<String, (Storage, Range<u64>)>;

/// Reads a file of this container.
pub(in crate::files::others) fn tar(file: View<'_>) -> Parsed<Header> {
    let members = members(file)?;
    let member = |name: &str| {
        let missing = || foreign(format!("a tar archive, but none of torch's: there is no {name} in it"));
        members.get(name).cloned().map_or_else(missing, Ok)
    };
    let (storages, tensors, pickle) = (member("storages")?, member("tensors")?, member("pickle")?);
    let places = read_storages(file, storages.start)?;
    let object = Pickle::read(file, pickle.start)?;
    let mut meaning = Meaning::new(&object);
    meaning.known = read_tensors(file, tensors.start, &places)?;
    listing(Format::Tar, file, names::weights(&meaning)?, false, |storage| {
        // Those that a tensor has are of these.
        Ok(places[&storage.key].1.clone())
    })
}

/// The members' bytes, by name.
fn members(file: View<'_>) -> Parsed<HashMap<String, Range<u64>>> {
    let mut members = HashMap::new();
    let mut at = 0;
    loop {
        let header = file.get(at, RECORD)?;
        // It ends with empty records.
        if header[0] == 0 {
            return Ok(members);
        }
        let text = |range: Range<usize>| {
            let bytes = &header[range];
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).trim().trim_start_matches("./").to_owned()
        };
        let Ok(len) = u64::from_str_radix(&text(124..136), 8) else {
            return damaged("its archive's directory is damaged");
        };
        at += RECORD;
        file.check(at, len)?;
        members.insert(text(0..100), at..at + len);
        at = at.saturating_add(len.next_multiple_of(RECORD));
    }
}

/// A pickle that a count stands in.
fn number(file: View<'_>, at: &mut Cursor<'_>) -> Parsed<u64> {
    let pickle = Pickle::read(file, at.at)?;
    at.at = pickle.end;
    pickle.count(pickle.root()).map_or_else(|| damaged("a count in it is no number"), Ok)
}

/// `(key, location, class)`, a count and the numbers, for each; then the views, `(key, root, offset, count)`.
fn read_storages(file: View<'_>, start: u64) -> Parsed<Places> {
    let mut at = file.cursor(start);
    let mut places = Places::new();
    for _ in 0..number(file, &mut at)? {
        let pickle = Pickle::read(file, at.at)?;
        let meaning = Meaning::new(&pickle);
        let Some(&[key, _, class]) = pickle.list(pickle.root()) else {
            return damaged("a storage in it is not described as torch did");
        };
        let (key, encoding) = (meaning.key(key).unwrap_or_default(), meaning.storage_class(class)?);
        at.at = pickle.end;
        let count = at.u64()?;
        let len = bytes(encoding, count)?;
        let range = at.at..at.at.saturating_add(len);
        file.check(range.start, len)?;
        at.at = range.end;
        places.insert(key.clone(), (Storage { key, encoding, count, offset: 0 }, range));
    }
    let views = Pickle::read(file, at.at)?;
    for &view in views.list(views.root()).unwrap_or_default() {
        let meaning = Meaning::new(&views);
        let parts = views.list(view).unwrap_or_default();
        let &[key, root, offset, count] = parts else {
            return damaged("a view in it is not described as torch did");
        };
        let (key, root) = (meaning.key(key).unwrap_or_default(), meaning.key(root).unwrap_or_default());
        let (Some((storage, range)), Some(offset), Some(count)) =
            (places.get(&root), views.count(offset), views.count(count))
        else {
            return damaged(format!("a view in it is of a storage {}, which is not there", quote(&root)));
        };
        let skipped = bytes(storage.encoding, offset)?;
        let (start, len) = (range.start.saturating_add(skipped), bytes(storage.encoding, count)?);
        if start.saturating_add(len) > range.end {
            return damaged(format!("a view in it reaches beyond its storage {}", quote(&root)));
        }
        let storage = Storage { key: key.clone(), encoding: storage.encoding, count, offset: 0 };
        places.insert(key, (storage, start..start + len));
    }
    Ok(places)
}

/// `(key, storage, class)`, then the axes and strides as numbers, for each.
fn read_tensors(file: View<'_>, start: u64, places: &Places) -> Parsed<HashMap<String, Tensor>> {
    let mut at = file.cursor(start);
    let mut tensors = HashMap::new();
    for _ in 0..number(file, &mut at)? {
        let pickle = Pickle::read(file, at.at)?;
        let meaning = Meaning::new(&pickle);
        let Some(&[key, storage, _]) = pickle.list(pickle.root()) else {
            return damaged("a tensor in it is not described as torch did");
        };
        let (key, storage) = (meaning.key(key).unwrap_or_default(), meaning.key(storage).unwrap_or_default());
        at.at = pickle.end;
        let axes = at.i32()?;
        at.skip(4)?;
        if !(0..=MOST_AXES).contains(&axes) {
            return damaged(format!("a tensor in it has {axes} axes"));
        }
        let shape = (0..axes).map(|_| at.u64()).collect::<Parsed<Vec<_>>>()?;
        let strides = (0..axes).map(|_| at.u64()).collect::<Parsed<Vec<_>>>()?;
        let offset = at.u64()?;
        let shape = shape.iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
        let Some((storage, _)) = places.get(&storage) else {
            return damaged(format!(
                "a tensor in it is of a storage {}, which is not there",
                quote(&storage)
            ));
        };
        let (encoding, storage) = (storage.encoding, Some(storage.clone()));
        tensors.insert(key, Tensor { storage, encoding, offset, shape, strides });
    }
    Ok(tensors)
}
