//! An HDF5 file's frame: where it begins, how wide its numbers are, and its objects' messages. Format: "HDF5 File Format
//! Specification Version 3.0" of The HDF Group, whose section numbers stand here and in the files beside.

use crate::files::others::view::{Cursor, Parsed, View, damaged, foreign};
use std::cell::Cell;

/// What a file, or what follows its user block, begins with (II.A).
const MAGIC: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// The first place of a superblock behind a user block; further ones are twice as far each.
const USER_BLOCK: u64 = 512;
/// User blocks beyond this are none.
const LONGEST_USER_BLOCK: u64 = 1 << 24;
/// The most messages of an object.
const MOST_MESSAGES: usize = 1 << 16;

/// Steps that a file's structures may take: a tree whose branches meet again would take more than anyone can wait for.
const MOST_STEPS: u32 = 1 << 24;

/// A file whose frame is known.
pub(super) struct File<'a> {
    pub view: View<'a>,
    /// What addresses count from.
    base: u64,
    /// Bytes of an address, and of a length.
    pub wide: [u8; 2],
    /// The root group's header.
    pub root: u64,
    steps: Cell<u32>,
}

/// Whether a file begins, behind a user block, like an HDF5 file.
pub(in crate::files::others) fn start(view: View<'_>) -> Parsed<Option<u64>> {
    let mut at = 0;
    while at <= LONGEST_USER_BLOCK && at + MAGIC.len() as u64 <= view.len() {
        if view.get(at, MAGIC.len() as u64)? == MAGIC {
            return Ok(Some(at));
        }
        at = (at * 2).max(USER_BLOCK);
    }
    Ok(None)
}

impl<'a> File<'a> {
    /// Reads the superblock.
    pub fn open(view: View<'a>) -> Parsed<Self> {
        let Some(start) = start(view)? else { return damaged("it does not begin as its format does") };
        let mut at = view.cursor(start + MAGIC.len() as u64);
        let version = at.u8()?;
        let wide = match version {
            0 | 1 => {
                at.skip(4)?;
                let wide = [at.u8()?, at.u8()?];
                at.skip(if version == 0 { 9 } else { 13 })?;
                wide
            }
            2 | 3 => {
                let wide = [at.u8()?, at.u8()?];
                at.skip(1)?;
                wide
            }
            other => return foreign(format!("its superblock's version is {other}")),
        };
        if !wide.iter().all(|size| [2, 4, 8].contains(size)) {
            return damaged("its superblock is damaged");
        }
        let mut file = Self { view, base: start, wide, root: 0, steps: Cell::new(MOST_STEPS) };
        let mut address = || at.uint(wide[0]);
        let (_base, _other, end) = (address()?, address()?, address()?);
        // Ahead of the root's own address there are a driver's block and the name of the root.
        if version < 2 {
            address()?;
            address()?;
        }
        file.root = address()?;
        // The end counts from the file's own beginning.
        view.check(0, end)?;
        Ok(file)
    }

    /// Reads from an address on.
    pub fn at(&self, address: u64) -> Cursor<'a> {
        self.view.cursor(self.base.saturating_add(address))
    }

    /// Where in the file an address is.
    pub fn place(&self, address: u64) -> u64 {
        self.base.saturating_add(address)
    }

    /// The next address; none where it is undefined.
    pub fn address(&self, at: &mut Cursor<'_>) -> Parsed<Option<u64>> {
        let address = at.uint(self.wide[0])?;
        Ok(Some(address).filter(|&a| a != u64::MAX >> (64 - 8 * u32::from(self.wide[0]))))
    }

    /// The next length.
    pub fn length(&self, at: &mut Cursor<'_>) -> Parsed<u64> {
        at.uint(self.wide[1])
    }

    /// Counts a step on the way through the file's structures; fails where it is one too many.
    pub fn step(&self) -> Parsed<()> {
        let Some(left) = self.steps.get().checked_sub(1) else {
            return damaged("its groups and trees do not end");
        };
        self.steps.set(left);
        Ok(())
    }

    /// Fails where the next four bytes are others.
    pub fn expect(&self, at: &mut Cursor<'a>, what: &[u8; 4]) -> Parsed<()> {
        self.step()?;
        match at.array()? == *what {
            true => Ok(()),
            false => damaged(format!("{} is not where it should be", String::from_utf8_lossy(what))),
        }
    }

    /// An object's messages (IV.A).
    pub fn messages(&self, address: u64) -> Parsed<Vec<Message>> {
        let mut at = self.at(address);
        let second = self.at(address).array()? == *b"OHDR";
        let (flags, len) = if second {
            at.skip(5)?;
            let flags = at.u8()?;
            at.skip(if flags & 0x20 != 0 { 16 } else { 0 })?;
            at.skip(if flags & 0x10 != 0 { 4 } else { 0 })?;
            (flags, at.uint(1 << (flags & 3))?)
        } else {
            if at.u8()? != 1 {
                return damaged("an object's header is damaged");
            }
            at.skip(7)?;
            let len = at.u32()?.into();
            at.skip(4)?;
            (0, len)
        };
        let mut messages = Vec::new();
        let mut blocks = vec![(at.at, len)];
        let mut next = 0;
        while let Some(&(start, len)) = blocks.get(next) {
            next += 1;
            self.view.check(start, len)?;
            for message in self.block(start, len, second, flags)? {
                if message.kind == kind::CONTINUATION {
                    let mut at = message.data(self);
                    let (Some(address), len) = (self.address(&mut at)?, self.length(&mut at)?) else {
                        return damaged("an object's header goes on nowhere");
                    };
                    // Those of the second version have a signature and a checksum.
                    let (before, after) = if second { (4, 4) } else { (0, 0) };
                    blocks.push((
                        self.place(address).saturating_add(before),
                        len.saturating_sub(before + after),
                    ));
                } else {
                    messages.push(message);
                }
                if messages.len() + blocks.len() > MOST_MESSAGES {
                    return damaged("an object's header does not end");
                }
            }
        }
        Ok(messages)
    }

    /// The messages of a block.
    fn block(&self, start: u64, len: u64, second: bool, flags: u8) -> Parsed<Vec<Message>> {
        let mut at = self.view.cursor(start);
        let end = start.saturating_add(len);
        let head = match (second, flags & 4 != 0) {
            (true, true) => 6,
            (true, false) => 4,
            (false, _) => 8,
        };
        let mut messages = Vec::new();
        while at.at.saturating_add(head) <= end && messages.len() < MOST_MESSAGES {
            let (kind, len, flags) = if second {
                let kind = at.u8()?.into();
                let (len, flags) = (at.u16()?, at.u8()?);
                at.skip(head - 4)?;
                (kind, len, flags)
            } else {
                let (kind, len, flags) = (at.u16()?, at.u16()?, at.u8()?);
                at.skip(3)?;
                (kind, len, flags)
            };
            self.step()?;
            at.clone().skip(len.into())?;
            messages.push(Message { kind, shared: flags & 2 != 0, at: at.at });
            at.at += u64::from(len);
        }
        Ok(messages)
    }
}

/// Kinds of messages (IV.A.2).
pub(super) mod kind {
    pub const DATASPACE: u16 = 0x01;
    pub const LINK_INFO: u16 = 0x02;
    pub const DATATYPE: u16 = 0x03;
    pub const LINK: u16 = 0x06;
    pub const EXTERNAL: u16 = 0x07;
    pub const LAYOUT: u16 = 0x08;
    pub const FILTERS: u16 = 0x0b;
    pub const ATTRIBUTE: u16 = 0x0c;
    pub const CONTINUATION: u16 = 0x10;
    pub const SYMBOL_TABLE: u16 = 0x11;
    pub const ATTRIBUTE_INFO: u16 = 0x15;
}

/// One thing that is said of an object.
pub(super) struct Message {
    pub kind: u16,
    /// Whether it only says where it is.
    pub shared: bool,
    /// Where in the file its body is.
    pub at: u64,
}

impl Message {
    /// Reads its body.
    pub fn data<'a>(&self, file: &File<'a>) -> Cursor<'a> {
        file.view.cursor(self.at)
    }
}
