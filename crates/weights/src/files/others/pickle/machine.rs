//! The part of Python's pickle machine that files of weights need. It builds a graph of plain values and runs nothing: a
//! call is kept as what is called and with what. Instructions: CPython's `Lib/pickletools.py`.

use super::globals;
use crate::files::others::view::{Cursor, Fault, Parsed, View, damaged, foreign};
use std::collections::HashMap;

/// A value's number.
pub(super) type Id = u32;

/// What a pickle holds, as far as it matters to weights. Texts are borrowed from the file.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Lists, tuples and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or a function, by module and name.
    Global(&'a str, &'a str),
    /// What the file keeps outside of the pickle.
    Persistent(Id),
    Object(Box<Object>),
}

/// What a call would have made.
#[derive(Debug)]
pub(super) struct Object {
    pub class: Id,
    pub args: Id,
    /// What it would have been filled with.
    pub items: Vec<(Id, Id)>,
    pub state: Option<Id>,
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    /// The persistent ones, in the order in which they were met.
    pub persistent: Vec<Id>,
    /// Where it ends in the file.
    pub end: u64,
}

/// A pickle of more values, or more steps, is none of weights: checkpoints with an optimizer's state take some 100,000.
const MOST_VALUES: usize = 1 << 21;
const MOST_STEPS: usize = 1 << 22;
/// A pickle of more bytes is none of weights either.
pub(super) const MOST_BYTES: u64 = 1 << 26;

impl<'a> Pickle<'a> {
    /// Reads the pickle that begins at `at`.
    pub fn read(file: View<'a>, at: u64) -> Parsed<Self> {
        let mut machine = Machine {
            at: file.cursor(at),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            persistent: Vec::new(),
        };
        let mut steps = 0;
        while !machine.step()? {
            steps += 1;
            if steps > MOST_STEPS || machine.at.at - at > MOST_BYTES {
                return damaged("its pickle is longer than any of weights");
            }
        }
        let root = machine.pop()?;
        let Machine { values, persistent, at, .. } = machine;
        Ok(Self { values, root, persistent, end: at.at })
    }

    /// The value that was pickled.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// A text, or a Python 2 string.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match *self.get(id) {
            Value::Text(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A list's, tuple's or set's values.
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self, id: Id) -> Option<u64> {
        match *self.get(id) {
            Value::Int(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// A list of such numbers.
    pub fn counts(&self, id: Id) -> Option<Vec<u64>> {
        self.list(id)?.iter().map(|&id| self.count(id)).collect()
    }
}

struct Machine<'a> {
    at: Cursor<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    persistent: Vec<Id>,
}

impl<'a> Machine<'a> {
    /// Does the next instruction; true where it was the last.
    fn step(&mut self) -> Parsed<bool> {
        let start = self.at.at;
        let code = self.at.u8()?;
        match code {
            // PROTO, FRAME
            0x80 => drop(self.at.u8()?),
            0x95 => drop(self.at.u64()?),
            b'.' => return Ok(true),
            b'(' => self.marks.push(self.stack.len()),
            // POP, POP_MARK
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => self.take(|at| at.i32().map(|n| Value::Int(n.into())))?,
            b'K' => self.take(|at| at.u8().map(|n| Value::Int(n.into())))?,
            b'M' => self.take(|at| at.u16().map(|n| Value::Int(n.into())))?,
            0x8a => self.take(|at| at.u8().map(u64::from).and_then(|len| long(at.take(len)?)))?,
            0x8b => self.take(|at| at.u32().map(u64::from).and_then(|len| long(at.take(len)?)))?,
            b'G' => self.take(|at| at.array().map(|bytes| Value::Float(f64::from_be_bytes(bytes))))?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.take(|at| at.u8().map(u64::from).and_then(|len| text(at.take(len)?)))?,
            b'X' => self.take(|at| at.u32().map(u64::from).and_then(|len| text(at.take(len)?)))?,
            0x8d => self.take(|at| at.u64().and_then(|len| text(at.take(len)?)))?,
            // SHORT_BINSTRING, SHORT_BINBYTES, BINSTRING, BINBYTES, BINBYTES8
            b'U' | b'C' => self.take(|at| at.u8().and_then(|len| at.take(len.into())).map(Value::Bytes))?,
            b'T' | b'B' => self.take(|at| at.u32().and_then(|len| at.take(len.into())).map(Value::Bytes))?,
            0x8e => self.take(|at| at.u64().and_then(|len| at.take(len)).map(Value::Bytes))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
            b']' | b')' | 0x8f => self.push(Value::List(Vec::new()))?,
            // LIST, TUPLE, FROZENSET
            b'l' | b't' | 0x91 => {
                let items = self.pop_marked()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = pairs(&self.pop_marked()?)?;
                self.push(Value::Dict(items))?;
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let mut items = (0x85..=code).map(|_| self.pop()).collect::<Parsed<Vec<_>>>()?;
                items.reverse();
                self.push(Value::List(items))?;
            }
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_marked()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.fill(&[(key, value)])?;
            }
            b'u' => {
                let items = pairs(&self.pop_marked()?)?;
                self.fill(&items)?;
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code)?,
            b'c' | 0x93 => self.global(code)?,
            b'Q' => {
                let id = self.pop()?;
                self.persistent.push(self.values.len() as Id);
                self.push(Value::Persistent(id))?;
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => {
                let (args, class) = (self.pop()?, self.pop()?);
                let object = Object { class, args, items: Vec::new(), state: None };
                self.push(Value::Object(Box::new(object)))?;
            }
            b'b' => {
                let state = self.pop()?;
                if let Value::Object(object) = self.top()? {
                    object.state = Some(state);
                }
            }
            other => {
                return foreign(format!(
                    "its pickle has the instruction {other:#04x} (at byte {start}), which weights do not need"
                ));
            }
        }
        Ok(false)
    }

    fn push(&mut self, value: Value<'a>) -> Parsed<()> {
        if self.values.len() >= MOST_VALUES {
            return damaged("its pickle has more values than any of weights");
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    fn take(&mut self, read: impl FnOnce(&mut Cursor<'a>) -> Parsed<Value<'a>>) -> Parsed<()> {
        let value = read(&mut self.at)?;
        self.push(value)
    }

    fn pop(&mut self) -> Parsed<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.pop().expect("it is higher than its floor")),
            false => damaged("its pickle takes more values than it made"),
        }
    }

    fn pop_marked(&mut self) -> Parsed<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => damaged("its pickle takes more values than it made"),
        }
    }

    fn top(&mut self) -> Parsed<&mut Value<'a>> {
        match self.stack.last() {
            Some(&id) => Ok(&mut self.values[id as usize]),
            None => damaged("its pickle takes more values than it made"),
        }
    }

    fn extend(&mut self, new: &[Id]) -> Parsed<()> {
        match self.top()? {
            Value::List(items) => items.extend(new),
            // Lists of other classes.
            Value::Object(_) => {}
            _ => return damaged("its pickle appends to what is no list"),
        }
        Ok(())
    }

    fn fill(&mut self, new: &[(Id, Id)]) -> Parsed<()> {
        match self.top()? {
            Value::Dict(items) => items.extend(new),
            Value::Object(object) => object.items.extend(new),
            _ => return damaged("its pickle sets items of what is no dictionary"),
        }
        Ok(())
    }

    /// BINPUT, LONG_BINPUT, MEMOIZE; BINGET, LONG_BINGET. Values are kept by reference: they are filled later.
    fn remember(&mut self, code: u8) -> Parsed<()> {
        let key = match code {
            b'q' | b'h' => self.at.u8()?.into(),
            0x94 => self.memo.len() as u32,
            _ => self.at.u32()?,
        };
        if matches!(code, b'h' | b'j') {
            let Some(&id) = self.memo.get(&key) else {
                return damaged(format!("its pickle asks for value {key}, which it did not keep"));
            };
            self.stack.push(id);
        } else {
            let Some(&id) = self.stack.last() else {
                return damaged("its pickle keeps a value that it has not made");
            };
            self.memo.insert(key, id);
        }
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL.
    fn global(&mut self, code: u8) -> Parsed<()> {
        let utf8 =
            |bytes| std::str::from_utf8(bytes).map_err(|_| Fault::Damaged("a name is not UTF-8".into()));
        let (module, name) = if code == b'c' {
            (utf8(self.at.line()?)?, utf8(self.at.line()?)?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.values[module as usize], &self.values[name as usize]) {
                (Value::Text(module), Value::Text(name)) => (*module, *name),
                _ => return damaged("its pickle names a class by what is no text"),
            }
        };
        globals::check(module, name)?;
        self.push(Value::Global(module, name))
    }
}

/// A Python integer: little-endian, two's complement. What does not fit is kept as its bytes.
fn long(bytes: &[u8]) -> Parsed<Value<'_>> {
    let negative = bytes.last().is_some_and(|&b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Ok(Value::Bytes(bytes)),
    }
    Ok(Value::Int(i64::from_le_bytes(wide)))
}

fn text(bytes: &[u8]) -> Parsed<Value<'_>> {
    // What Python calls a surrogate is no character; as bytes it does no harm.
    Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
}

fn pairs(items: &[Id]) -> Parsed<Vec<(Id, Id)>> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => damaged("its pickle has a key without a value"),
    }
}
