//! HDF5, as Keras, TensorFlow and h5py write it: groups of both kinds, datasets in one piece or in chunks, attributes.

mod attributes;
mod dataset;
mod file;
mod heap;
mod index;

use super::view::{Parsed, View, damaged, quote};
use crate::files::{Entry, Format, Header};
pub(super) use file::start;
use file::{File, Message, kind};
use std::collections::{BTreeMap, HashSet};

/// Groups nested deeper are no model's.
const DEEPEST: usize = 32;
/// The most links of all groups.
const MOST_LINKS: usize = 1 << 18;
/// So long a path no tensor has.
const LONGEST_PATH: usize = 1000;
/// The most nodes of a group's tree on the way to a link.
const DEEPEST_TREE: u8 = 16;

/// Reads what a file says of its datasets.
pub(super) fn parse(view: View<'_>) -> Parsed<Header> {
    let file = File::open(view)?;
    let mut walk = Walk {
        file: &file,
        seen: HashSet::new(),
        links: 0,
        tensors: Vec::new(),
        metadata: BTreeMap::new(),
        room: view.len(),
    };
    walk.visit(String::new(), file.root, 0)?;
    attributes::join(&mut walk.metadata);
    Ok(Header { format: Format::Hdf5, tensors: walk.tensors, metadata: walk.metadata })
}

struct Walk<'f, 'a> {
    file: &'f File<'a>,
    /// Objects that have been visited: what lies in two groups, or in itself, is listed once.
    seen: HashSet<u64>,
    links: usize,
    tensors: Vec<Entry>,
    metadata: BTreeMap<String, String>,
    /// Bytes of text that may still be told: as many as the file has.
    room: u64,
}

impl<'a> Walk<'_, 'a> {
    fn visit(&mut self, path: String, object: u64, depth: usize) -> Parsed<()> {
        if !self.seen.insert(object) {
            return Ok(());
        }
        if depth > DEEPEST {
            return damaged(format!("its groups are nested more than {DEEPEST} deep"));
        }
        let messages = self.file.messages(object)?;
        for (name, value) in attributes::read(self.file, &messages, &mut self.room)? {
            let key = if path.is_empty() { name } else { format!("{path}@{name}") };
            self.metadata.insert(key, value);
        }
        if messages.iter().any(|message| message.kind == kind::LAYOUT) {
            self.tensors.push(dataset::entry(self.file, path, &messages)?);
            return Ok(());
        }
        for (name, object) in self.links(&messages)? {
            let name = String::from_utf8_lossy(name);
            let path = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            if path.len() > LONGEST_PATH {
                return damaged(format!("a name in it is endless: {}", quote(&path)));
            }
            self.visit(path, object, depth + 1)?;
        }
        Ok(())
    }

    /// A group's links to objects of the same file, in the order of their names.
    fn links(&mut self, messages: &[Message]) -> Parsed<Vec<(&'a [u8], u64)>> {
        let mut links = Vec::new();
        for message in messages {
            let mut at = message.data(self.file);
            match message.kind {
                kind::SYMBOL_TABLE => {
                    let (tree, heap) = (self.file.address(&mut at)?, self.file.address(&mut at)?);
                    if let (Some(tree), Some(heap)) = (tree, heap) {
                        self.symbols(tree, heap, DEEPEST_TREE, &mut links)?;
                    }
                }
                kind::LINK => links.extend(self.link(&mut at)?),
                kind::LINK_INFO => {
                    at.skip(1)?;
                    let flags = at.u8()?;
                    at.skip(if flags & 1 != 0 { 8 } else { 0 })?;
                    let (heap, tree) = (self.file.address(&mut at)?, self.file.address(&mut at)?);
                    if let (Some(heap), Some(tree)) = (heap, tree) {
                        let heap = heap::Fractal::open(self.file, heap)?;
                        for mut record in heap::records(self.file, tree)? {
                            record.skip(4)?;
                            links.extend(self.link(&mut heap.object(record)?)?);
                        }
                    }
                }
                _ => {}
            }
        }
        links.sort();
        self.links += links.len();
        if self.links > MOST_LINKS { damaged("its groups do not end") } else { Ok(links) }
    }

    /// A group of the first kind: a tree of tables, and a heap with the names (III.A.1, III.B).
    fn symbols(&self, node: u64, heap: u64, depth: u8, links: &mut Vec<(&'a [u8], u64)>) -> Parsed<()> {
        let file = self.file;
        let mut at = file.at(node);
        file.expect(&mut at, b"TREE")?;
        let (kind, level, count) = (at.u8()?, at.u8()?, at.u16()?);
        at.skip(2 * u64::from(file.wide[0]))?;
        if kind != 0 || level >= depth {
            return damaged("a group's tree is damaged");
        }
        for _ in 0..count {
            file.step()?;
            file.length(&mut at)?;
            let Some(child) = file.address(&mut at)? else { return damaged("a group's tree is damaged") };
            if level > 0 {
                self.symbols(child, heap, level, links)?;
                continue;
            }
            let mut table = file.at(child);
            file.expect(&mut table, b"SNOD")?;
            table.skip(2)?;
            for _ in 0..table.u16()? {
                file.step()?;
                let (name, object) = (file.address(&mut table)?, file.address(&mut table)?);
                // A link by name has no object.
                let by_name = table.u32()? == 2;
                table.skip(20)?;
                if let (Some(name), Some(object), false) = (name, object, by_name) {
                    links.push((heap::local(file, heap, name)?, object));
                }
                if links.len() > MOST_LINKS {
                    return damaged("its groups do not end");
                }
            }
        }
        Ok(())
    }

    /// A link message (IV.A.2.g); none where it is no link to an object of this file.
    fn link(&self, at: &mut super::view::Cursor<'a>) -> Parsed<Option<(&'a [u8], u64)>> {
        at.skip(1)?;
        let flags = at.u8()?;
        let hard = flags & 8 == 0 || at.u8()? == 0;
        at.skip(if flags & 4 != 0 { 8 } else { 0 })?;
        at.skip(if flags & 16 != 0 { 1 } else { 0 })?;
        let len = at.uint(1 << (flags & 3))?;
        let name = at.take(len)?;
        Ok(if hard { self.file.address(at)?.map(|object| (name, object)) } else { None })
    }
}
