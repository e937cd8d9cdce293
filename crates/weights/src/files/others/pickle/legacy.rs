//! What torch wrote before 1.6: five pickles, then the storages one after another.

use super::machine::{Pickle, Value};
use super::torch::Meaning;
use super::{bytes, listing, names};
use crate::files::others::view::{Parsed, View, damaged, foreign, quote};
use crate::files::{Format, Header};
use calotype_tensor::Encoding;
use std::collections::HashMap;
use std::ops::Range;

/// The second, the protocol's version.
const PROTOCOL: u64 = 1001;

/// Reads a file of this container.
pub(in crate::files::others) fn legacy(file: View<'_>) -> Parsed<Header> {
    let magic = Pickle::read(file, 0)?;
    let protocol = Pickle::read(file, magic.end)?;
    if protocol.count(protocol.root()) != Some(PROTOCOL) {
        return foreign(format!("its version is not {PROTOCOL}"));
    }
    let system = Pickle::read(file, protocol.end)?;
    let object = Pickle::read(file, system.end)?;
    let keys = Pickle::read(file, object.end)?;
    let meaning = Meaning::new(&object);

    // The storages come in the order of the keys; how large their elements are only the object tells.
    let mut kinds = HashMap::new();
    for &id in &object.persistent {
        if let Value::Persistent(place) = *object.get(id)
            && is_storage(&object, place)
        {
            let storage = meaning.storage(place)?;
            kinds.insert(storage.key, storage.encoding);
        }
    }
    let mut places: HashMap<String, Range<u64>> = HashMap::new();
    let mut at = file.cursor(keys.end);
    for &key in keys.list(keys.root()).unwrap_or_default() {
        let key = Meaning::new(&keys).key(key).unwrap_or_default();
        let Some(&encoding) = kinds.get(&key) else {
            return damaged(format!("it lists a storage {} that nothing names", quote(&key)));
        };
        if let Encoding::Unknown(what) = encoding {
            return foreign(format!(
                "it holds {what}, whose size is not known, so that the rest is not found"
            ));
        }
        let count = at.u64()?;
        let len = bytes(encoding, count)?;
        file.check(at.at, len)?;
        places.insert(key, at.at..at.at + len);
        at.at += len;
    }
    let big_endian = little_endian(&system) == Some(false);
    listing(Format::Legacy, file, names::weights(&meaning)?, big_endian, |storage| {
        match places.get(&storage.key) {
            Some(range) => Ok(range.clone()),
            None => damaged(format!("it has no storage {}", quote(&storage.key))),
        }
    })
}

/// A module's source is kept outside as well.
fn is_storage(object: &Pickle<'_>, place: u32) -> bool {
    let kind = object.list(place).and_then(|parts| object.text(*parts.first()?));
    kind == Some("storage")
}

fn little_endian(system: &Pickle<'_>) -> Option<bool> {
    let Value::Dict(items) = system.get(system.root()) else { return None };
    let (_, value) = items.iter().find(|(key, _)| system.text(*key) == Some("little_endian"))?;
    match *system.get(*value) {
        Value::Bool(truth) => Some(truth),
        _ => None,
    }
}
