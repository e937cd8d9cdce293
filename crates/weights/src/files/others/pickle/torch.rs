//! What a pickle of torch's means: tensors by name, each a view of a storage. The functions that it names are those of
//! torch's `torch/_utils.py` and `torch/_tensor.py`; here they are not called but read.

use super::globals;
use super::machine::{Id, Object, Pickle, Value};
use crate::files::others::view::{Parsed, damaged, quote};
use calotype_tensor::Encoding;
use std::collections::HashMap;

/// A tensor, as its pickle has it.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// Where its numbers are; none where they are in no storage.
    pub storage: Option<Storage>,
    pub encoding: Encoding,
    /// Elements before its first one in its storage.
    pub offset: u64,
    pub shape: Vec<usize>,
    /// Elements from one to the next, for each axis.
    pub strides: Vec<u64>,
}

/// Numbers that the file keeps outside of the pickle.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub key: String,
    /// By its class.
    pub encoding: Encoding,
    /// How many elements of that encoding.
    pub count: u64,
    /// Elements of the storage of that key before its first.
    pub offset: u64,
}

/// Views of views end here.
const DEEPEST: usize = 8;

/// A pickle, with what it leaves to others.
pub(super) struct Meaning<'p, 'a> {
    pub pickle: &'p Pickle<'a>,
    /// Tensors that the oldest files keep elsewhere, by the key that the pickle has in their place.
    pub known: HashMap<String, Tensor>,
}

impl<'p, 'a> Meaning<'p, 'a> {
    /// All that is in one pickle.
    pub fn new(pickle: &'p Pickle<'a>) -> Self {
        Self { pickle, known: HashMap::new() }
    }

    /// The tensor that a value is, if it is one.
    pub fn tensor(&self, id: Id) -> Parsed<Option<Tensor>> {
        let mut at = id;
        for _ in 0..DEEPEST {
            let (class, args) = match self.pickle.get(at) {
                Value::Object(object) => (object.class, object.args),
                Value::Persistent(key) => {
                    return Ok(self.key(*key).and_then(|key| self.known.get(&key)).cloned());
                }
                _ => return Ok(None),
            };
            match self.called(class, args)? {
                Called::Tensor(tensor) => return Ok(Some(tensor)),
                Called::Wrapped(inner) => at = inner,
                Called::Other => return Ok(None),
            }
        }
        damaged("its pickle wraps a tensor in a tensor, again and again")
    }

    /// What a call would have returned.
    fn called(&self, mut class: Id, mut args: Id) -> Parsed<Called> {
        // A tensor with attributes of its own: how it is made is in the arguments.
        if let Value::Global("torch._tensor", "_rebuild_from_type_v2") = self.pickle.get(class) {
            let Some(&[function, _, inner, ..]) = self.pickle.list(args) else { return Ok(Called::Other) };
            (class, args) = (function, inner);
        }
        let Value::Global(module, name) = *self.pickle.get(class) else { return Ok(Called::Other) };
        let args = self.pickle.list(args).unwrap_or_default();
        Ok(match (module, name, args) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", _) => {
                Called::Tensor(self.rebuilt(args)?)
            }
            (
                "torch._utils",
                "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
                | "_rebuild_device_tensor_from_cpu_tensor",
                [inner, ..],
            ) => Called::Wrapped(*inner),
            ("torch.nn.parameter" | "torch.nn", "Parameter" | "Buffer", [inner, ..]) => {
                Called::Wrapped(*inner)
            }
            ("torch._utils", "_rebuild_sparse_tensor", _) => Called::unread("a sparse tensor"),
            ("torch._utils", "_rebuild_qtensor", _) => Called::unread("torch's quantised numbers"),
            ("torch._utils", name, _) if name.starts_with("_rebuild_") => {
                Called::unread("a tensor of a rare kind")
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct", _) => {
                Called::unread("an array of NumPy's")
            }
            _ => Called::Other,
        })
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, …)`; the third form has a number type as its seventh.
    fn rebuilt(&self, args: &[Id]) -> Parsed<Tensor> {
        let wrong = || damaged("a tensor in its pickle is made of something else than torch makes it of");
        let &[storage, offset, shape, strides, ref rest @ ..] = args else { return wrong() };
        let (Some(offset), Some(shape), Some(strides)) =
            (self.pickle.count(offset), self.pickle.counts(shape), self.pickle.counts(strides))
        else {
            return wrong();
        };
        let Some(shape) = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<Vec<_>>>()
        else {
            return wrong();
        };
        if shape.len() != strides.len() {
            return wrong();
        }
        let Value::Persistent(place) = *self.pickle.get(storage) else { return wrong() };
        let storage = self.storage(place)?;
        let encoding = match rest.get(2).map(|&id| self.pickle.get(id)) {
            Some(&Value::Global("torch", name)) => {
                globals::dtype(name).unwrap_or(Encoding::Unknown("a rare type"))
            }
            _ => storage.encoding,
        };
        Ok(Tensor { storage: Some(storage), encoding, offset, shape, strides })
    }

    /// `('storage', class, key, location, count[, view])`, where a view is `(key, offset, count)`.
    pub fn storage(&self, place: Id) -> Parsed<Storage> {
        let wrong = || damaged("a storage in its pickle is not described as torch does");
        let Some(&[kind, class, key, _, count, ref rest @ ..]) = self.pickle.list(place) else {
            return wrong();
        };
        let (Some("storage"), Some(key), Some(count)) =
            (self.pickle.text(kind), self.key(key), self.pickle.count(count))
        else {
            return wrong();
        };
        let encoding = self.storage_class(class)?;
        let offset = match rest.first().and_then(|&view| self.pickle.list(view)) {
            Some(&[_, offset, _]) => self.pickle.count(offset),
            Some(_) => None,
            None => Some(0),
        };
        offset.map_or_else(wrong, |offset| Ok(Storage { key, encoding, count, offset }))
    }

    /// The number type of a class of storages.
    pub fn storage_class(&self, class: Id) -> Parsed<Encoding> {
        let Value::Global(module, name) = *self.pickle.get(class) else {
            return damaged("a storage in its pickle has no class");
        };
        match globals::storage(module, name) {
            Some(encoding) => Ok(encoding),
            None => {
                damaged(format!("a storage in its pickle is of the class {}.{}", quote(module), quote(name)))
            }
        }
    }

    /// A key: a text or a number.
    pub fn key(&self, id: Id) -> Option<String> {
        match *self.pickle.get(id) {
            Value::Int(n) => Some(n.to_string()),
            _ => self.pickle.text(id).map(String::from),
        }
    }

    /// A dictionary's or a list's values by their keys; of an object what it would be filled with. None for the rest.
    pub fn children(&self, id: Id) -> Option<Vec<(Key, Id)>> {
        let numbered = |items: &[Id]| items.iter().enumerate().map(|(i, &id)| (Key::Index(i), id)).collect();
        let named = |items: &[(Id, Id)]| items.iter().map(|&(key, id)| (Key::Named(key), id)).collect();
        match self.pickle.get(id) {
            Value::Dict(items) => Some(named(items)),
            Value::List(items) => Some(numbered(items)),
            Value::Object(object) => Some(self.filled(object)),
            _ => None,
        }
    }

    fn filled(&self, object: &Object) -> Vec<(Key, Id)> {
        let mut found: Vec<(Key, Id)> = Vec::new();
        if let Value::Global("collections" | "typing", _) = self.pickle.get(object.class) {
            // Python 2 has an ordered dictionary's items in the call.
            let pairs = self.pickle.list(object.args).and_then(|args| self.pickle.list(*args.first()?));
            let pair = |&id: &Id| self.pickle.list(id).and_then(|pair| <[Id; 2]>::try_from(pair).ok());
            found.extend(
                pairs.unwrap_or_default().iter().filter_map(pair).map(|[key, id]| (Key::Named(key), id)),
            );
        } else if let Some(Value::Dict(state)) = object.state.map(|state| self.pickle.get(state)) {
            found.extend(state.iter().map(|&(key, id)| (Key::Named(key), id)));
        }
        found.extend(object.items.iter().map(|&(key, id)| (Key::Named(key), id)));
        found
    }
}

/// What a value is called where it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Named(Id),
    Index(usize),
}

enum Called {
    Tensor(Tensor),
    Wrapped(Id),
    Other,
}

impl Called {
    /// A tensor whose numbers are not read.
    fn unread(what: &'static str) -> Self {
        let encoding = Encoding::Unknown(what);
        Self::Tensor(Tensor { storage: None, encoding, offset: 0, shape: Vec::new(), strides: Vec::new() })
    }
}
