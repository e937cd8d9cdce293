//! Where groups keep names, datasets texts, and large objects links and attributes (III.D to III.G, III.A.2).

use super::file::File;
use crate::files::others::view::{Cursor, Parsed, damaged, foreign};

/// Bytes of a node of the second kind of tree that are no records.
const NODE_BYTES: u64 = 10;
/// The deepest tree, and the deepest heap.
const DEEPEST: u16 = 16;
/// The most records of a tree.
const MOST_RECORDS: usize = 1 << 18;
/// The longest name or text in a heap.
const LONGEST: u64 = 1 << 16;

/// A name in a local heap, which ends with a zero.
pub(super) fn local<'a>(file: &File<'a>, heap: u64, offset: u64) -> Parsed<&'a [u8]> {
    let mut at = file.at(heap);
    file.expect(&mut at, b"HEAP")?;
    at.skip(4)?;
    let len = file.length(&mut at)?;
    file.length(&mut at)?;
    let Some(data) = file.address(&mut at)? else { return damaged("a heap has no place") };
    let rest = len.saturating_sub(offset).min(LONGEST);
    let name = file.at(data.saturating_add(offset)).take(rest)?;
    match name.iter().position(|&b| b == 0) {
        Some(end) => Ok(&name[..end]),
        None => damaged("a name does not end"),
    }
}

/// An object in the global heap, where texts of any length are.
pub(super) fn global<'a>(file: &File<'a>, collection: u64, index: u32) -> Parsed<&'a [u8]> {
    let mut at = file.at(collection);
    let start = at.at;
    file.expect(&mut at, b"GCOL")?;
    at.skip(4)?;
    let end = start.saturating_add(file.length(&mut at)?);
    while at.at.saturating_add(16) <= end {
        file.step()?;
        let number = at.u16()?;
        at.skip(6)?;
        let len = file.length(&mut at)?;
        if number == 0 {
            break;
        }
        let bytes = at.take(len)?;
        if u32::from(number) == index {
            return Ok(bytes);
        }
        at.skip(len.next_multiple_of(8) - len)?;
    }
    damaged(format!("a text is not in its heap under {index}"))
}

/// A tree of the second kind: records of one size.
pub(super) fn records<'a>(file: &File<'a>, tree: u64) -> Parsed<Vec<Cursor<'a>>> {
    let mut at = file.at(tree);
    file.expect(&mut at, b"BTHD")?;
    at.skip(2)?;
    let (node, record, depth) = (u64::from(at.u32()?), u64::from(at.u16()?), at.u16()?);
    at.skip(2)?;
    let root = file.address(&mut at)?;
    let count = at.u16()?.into();
    if record == 0 || depth > DEEPEST || node < NODE_BYTES + record {
        return damaged("a tree is damaged");
    }
    let tree = Tree { file, record, widths: widths(file, node, record, depth) };
    let mut found = Vec::new();
    if let Some(root) = root {
        tree.collect(root, count, depth, &mut found)?;
    }
    Ok(found)
}

/// A number's bytes, if it may be as large as that.
fn width(limit: u64) -> u8 {
    (limit.max(1).ilog2() / 8 + 1) as u8
}

/// Bytes of a count of the records in a child, and of the records in all below, by the child's height.
fn widths(file: &File<'_>, node: u64, record: u64, depth: u16) -> Vec<[u8; 2]> {
    let leaf = (node - NODE_BYTES) / record;
    let mut below = leaf;
    let mut widths = vec![[width(leaf), 0]];
    for _ in 1..=depth {
        let [count, all] = *widths.last().expect("there is a leaf's");
        let pointer = u64::from(file.wide[0]) + u64::from(count) + u64::from(all);
        let most = node.saturating_sub(NODE_BYTES + pointer) / (record + pointer);
        below = (most + 1).saturating_mul(below).saturating_add(most);
        widths.push([width(leaf), width(below)]);
    }
    widths
}

struct Tree<'f, 'a> {
    file: &'f File<'a>,
    /// Bytes of one.
    record: u64,
    widths: Vec<[u8; 2]>,
}

impl<'a> Tree<'_, 'a> {
    fn collect(&self, node: u64, count: u64, height: u16, found: &mut Vec<Cursor<'a>>) -> Parsed<()> {
        let mut at = self.file.at(node);
        self.file.expect(&mut at, if height == 0 { b"BTLF" } else { b"BTIN" })?;
        at.skip(2)?;
        for _ in 0..count {
            if found.len() >= MOST_RECORDS {
                return damaged("a tree does not end");
            }
            self.file.step()?;
            found.push(at.clone());
            at.skip(self.record)?;
        }
        if height > 0 {
            let [one, all] = self.widths[usize::from(height) - 1];
            for _ in 0..=count {
                let Some(child) = self.file.address(&mut at)? else { return damaged("a tree is damaged") };
                let count = at.uint(one)?;
                at.skip(all.into())?;
                self.collect(child, count, height - 1, found)?;
            }
        }
        Ok(())
    }
}

/// A fractal heap.
pub(super) struct Fractal<'f, 'a> {
    file: &'f File<'a>,
    /// Bits of an offset in it.
    bits: u16,
    /// Bytes of an object's length.
    length: u8,
    /// Blocks of a row.
    columns: u64,
    first_block: u64,
    largest_direct: u64,
    root: Option<u64>,
    /// Rows of the root; none where it is a direct block.
    rows: u16,
    /// The tree of objects that are too large for blocks.
    huge: Option<u64>,
}

impl<'f, 'a> Fractal<'f, 'a> {
    /// Reads a heap's header.
    pub fn open(file: &'f File<'a>, heap: u64) -> Parsed<Self> {
        let mut at = file.at(heap);
        file.expect(&mut at, b"FRHP")?;
        at.skip(3)?;
        if at.u16()? != 0 {
            return foreign("a heap in it is compressed");
        }
        at.skip(1)?;
        let largest = u64::from(at.u32()?);
        file.length(&mut at)?;
        let huge = file.address(&mut at)?;
        file.length(&mut at)?;
        file.address(&mut at)?;
        at.skip(8 * u64::from(file.wide[1]))?;
        let columns = at.u16()?.into();
        let (first_block, largest_direct) = (file.length(&mut at)?, file.length(&mut at)?);
        let bits = at.u16()?;
        at.skip(2)?;
        let root = file.address(&mut at)?;
        let rows = at.u16()?;
        let sound = columns > 0
            && first_block.is_power_of_two()
            && largest_direct.is_power_of_two()
            && (first_block..=1 << 40).contains(&largest_direct)
            && (1..=64).contains(&bits)
            && rows <= 64;
        if !sound {
            return damaged("a heap is damaged");
        }
        let length = (largest_direct.ilog2().div_ceil(8) as u8).min(width(largest));
        Ok(Self { file, bits, length, columns, first_block, largest_direct, root, rows, huge })
    }

    /// An object, by its number in the heap.
    pub fn object(&self, mut id: Cursor<'a>) -> Parsed<Cursor<'a>> {
        match id.u8()? >> 4 & 3 {
            0 => {
                let offset = id.uint(self.bits.div_ceil(8) as u8)?;
                let len = id.uint(self.length)?;
                let Some(root) = self.root else { return damaged("a heap has no place") };
                let place = match self.rows {
                    0 => root.saturating_add(offset),
                    rows => self.place(root, rows, offset, 0)?,
                };
                let at = self.file.at(place);
                self.file.view.check(at.at, len)?;
                Ok(at)
            }
            1 => self.huge(id.uint(self.file.wide[1].min(7))?),
            _ => foreign("a heap in it has objects in their own names"),
        }
    }

    /// Where an offset in the heap is, of which a block with so many rows holds the part from `offset` zero on.
    fn place(&self, block: u64, rows: u16, mut offset: u64, depth: u16) -> Parsed<u64> {
        let wrong = || damaged("a heap is damaged");
        if depth > DEEPEST {
            return wrong();
        }
        let mut at = self.file.at(block);
        self.file.expect(&mut at, b"FHIB")?;
        at.skip(1 + u64::from(self.file.wide[0]) + u64::from(self.bits.div_ceil(8)))?;
        for row in 0..rows {
            let size = self.first_block.checked_shl(u32::from(row).saturating_sub(1)).unwrap_or(0);
            let Some(whole) = size.checked_mul(self.columns).filter(|&n| n > 0) else { return wrong() };
            if offset >= whole {
                offset -= whole;
                at.skip(self.columns * u64::from(self.file.wide[0]))?;
                continue;
            }
            at.skip(offset / size * u64::from(self.file.wide[0]))?;
            let Some(child) = self.file.address(&mut at)? else { return wrong() };
            let within = offset % size;
            if size <= self.largest_direct {
                return Ok(child.saturating_add(within));
            }
            let least = self.first_block.saturating_mul(self.columns);
            let rows = (size / least.max(1)).max(1).ilog2() + 1;
            return self.place(child, rows as u16, within, depth + 1);
        }
        wrong()
    }

    fn huge(&self, id: u64) -> Parsed<Cursor<'a>> {
        let Some(tree) = self.huge else { return damaged("a heap lacks its large objects") };
        for mut record in records(self.file, tree)? {
            let place = self.file.address(&mut record)?;
            let len = self.file.length(&mut record)?;
            if let (Some(place), true) = (place, self.file.length(&mut record)? == id) {
                let at = self.file.at(place);
                self.file.view.check(at.at, len)?;
                return Ok(at);
            }
        }
        damaged("a heap lacks one of its large objects")
    }
}
