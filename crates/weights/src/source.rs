use crate::{Error, Result, Stored};
use calotype_tensor::DType;
use std::{borrow::Cow, future::Future, ops::Range, pin::Pin};

/// What is known about a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its path in the checkpoint, such as `down_blocks.0.resnets.0.conv1.weight`.
    pub name: String,
    /// How its elements are lent.
    pub dtype: DType,
    /// How its elements are stored.
    pub stored: Stored,
    /// Its axes in the checkpoint's own order (PyTorch's: a convolution is `[out, in, kh, kw]`).
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// How many elements it has.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes it takes as lent.
    pub fn bytes(&self) -> usize {
        self.numel() * self.dtype.size()
    }
}

/// Little-endian bytes on their way: ready at once where files are mapped, awaited where they are fetched.
pub type Read<'a> = Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>>> + 'a>>;

/// A checkpoint: tensors by path.
pub trait WeightSource {
    /// What is known about a tensor. Fails where there is none of that name, or its numbers cannot be read.
    fn get(&self, name: &str) -> Result<&TensorInfo>;

    /// Every tensor's path, in alphabetical order, whether its numbers can be read or not.
    fn names(&self) -> Vec<&str>;

    /// Part of a tensor's bytes, as `dtype` says. `range` counts bytes from the tensor's first and covers whole elements.
    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a>;

    /// Where the tensor is (its file, for messages), or where it would be.
    fn describe(&self, name: &str) -> String;

    /// Says that a tensor will not be read soon, so that mapped pages may leave memory. Reading it again is allowed.
    fn release(&self, _name: &str) {}

    /// What the file says of itself under a name, beside its tensors (`__metadata__`).
    fn metadata(&self, _key: &str) -> Option<&str> {
        None
    }

    /// All of a tensor's bytes.
    fn read_all<'a>(&'a self, name: &'a str) -> Read<'a> {
        match self.get(name) {
            Ok(info) => self.read(name, 0..info.bytes()),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Whether [`get`](Self::get) would succeed.
    fn contains(&self, name: &str) -> bool {
        self.get(name).is_ok()
    }

    /// The first of several paths that exists. Where none does, the error is about the first.
    fn get_any(&self, names: &[&str]) -> Result<&TensorInfo> {
        let mut first = None;
        for name in names {
            match self.get(name) {
                Err(error) => first = first.or(Some(error)),
                found => return found,
            }
        }
        Err(first.unwrap_or_else(|| Error::Missing {
            tensor: "(no name given)".into(),
            place: self.describe(""),
            hint: String::new(),
        }))
    }

    /// [`get`](Self::get), with the shape that the configuration implies (in the checkpoint's axis order).
    fn expect(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let info = self.get(name)?;
        if info.shape == shape {
            return Ok(info);
        }
        Err(Error::WrongShape {
            tensor: info.name.clone(),
            place: self.describe(name),
            expected: shape.to_vec(),
            found: info.shape.clone(),
        })
    }
}

macro_rules! forward_to_inner {
    ($($holder:ty),*) => {$(
        impl<S: WeightSource + ?Sized> WeightSource for $holder {
            fn get(&self, name: &str) -> Result<&TensorInfo> {
                (**self).get(name)
            }
            fn names(&self) -> Vec<&str> {
                (**self).names()
            }
            fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
                (**self).read(name, range)
            }
            fn describe(&self, name: &str) -> String {
                (**self).describe(name)
            }
            fn release(&self, name: &str) {
                (**self).release(name);
            }
            fn metadata(&self, key: &str) -> Option<&str> {
                (**self).metadata(key)
            }
        }
    )*};
}
forward_to_inner!(&S, Box<S>, std::rc::Rc<S>, std::sync::Arc<S>);

/// Checks a byte range against its tensor.
pub(crate) fn check_range(
    info: &TensorInfo,
    range: &Range<usize>,
    place: impl FnOnce() -> String,
) -> Result<()> {
    let (size, len) = (info.dtype.size(), info.bytes());
    let whole = range.start.is_multiple_of(size) && range.end.is_multiple_of(size);
    if whole && range.start <= range.end && range.end <= len {
        return Ok(());
    }
    let Range { start, end } = *range;
    Err(Error::BadRange { tensor: info.name.clone(), place: place(), start, end, len })
}

/// The error for a name that `names` does not hold; quotes the one that agrees with it for longest.
pub(crate) fn missing<'a>(tensor: &str, place: String, names: impl Iterator<Item = &'a str>) -> Error {
    let agreement = |name: &str| name.bytes().zip(tensor.bytes()).take_while(|(a, b)| a == b).count();
    let nearest = names.max_by_key(|name| agreement(name));
    let hint = nearest.map(|name| format!(" (the nearest name is {name})")).unwrap_or_default();
    Error::Missing { tensor: tensor.into(), place, hint }
}
