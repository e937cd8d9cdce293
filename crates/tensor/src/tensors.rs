use crate::{DType, Encoding, Error, Result};
use std::borrow::Cow;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

/// A future that stays on its thread: what reading back from a GPU and fetching weights return. Native code
/// blocks on it, a browser awaits it.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Little-endian bytes on their way: ready at once where files are mapped, awaited where they are fetched.
pub type Read<'a> = LocalFuture<'a, Result<Cow<'a, [u8]>>>;

/// What is known about a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its path where it lies, such as `down_blocks.0.resnets.0.conv1.weight`.
    pub name: String,
    /// How its elements are lent.
    pub dtype: DType,
    /// How its elements are stored.
    pub encoding: Encoding,
    /// Its axes in the file's own order (PyTorch's: a convolution is `[out, in, kh, kw]`). There may be any number.
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

    /// Checks a range of elements: whole blocks within the tensor. `place` is where it lies.
    pub fn check(&self, range: &Range<usize>, place: impl FnOnce() -> String) -> Result<()> {
        let ([block, _], len) = (self.encoding.block(), self.numel());
        let whole =
            range.start.is_multiple_of(block) && (range.end.is_multiple_of(block) || range.end == len);
        if whole && range.start <= range.end && range.end <= len {
            return Ok(());
        }
        let Range { start, end } = *range;
        Err(Error::BadRange { tensor: self.name.clone(), place: place(), start, end, len })
    }
}

/// Tensors by path: the one face of a checkpoint, of what is added to it, and of what stands in for it.
pub trait Tensors {
    /// What is known about a tensor. Fails where there is none of that name ([`Error::Missing`]), or its numbers cannot
    /// be read.
    fn get(&self, name: &str) -> Result<&TensorInfo>;

    /// Every tensor's path, in alphabetical order, whether its numbers can be read or not.
    fn names(&self) -> Vec<&str>;

    /// Some of a tensor's elements, as its `dtype` says: whole blocks of its encoding.
    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a>;

    /// Where the tensor is (its file, for messages), or where it would be.
    fn describe(&self, name: &str) -> String;

    /// Says that a tensor will not be read soon, so that mapped pages may leave memory. Reading it again is allowed.
    fn release(&self, _name: &str) {}

    /// A tensor's bytes as its file has them, in its encoding; none where they do not lie there so.
    fn as_stored<'a>(&'a self, _name: &'a str) -> Option<Read<'a>> {
        None
    }

    /// What the file says of itself under a name, beside its tensors (`__metadata__` in safetensors).
    fn metadata(&self, _key: &str) -> Option<&str> {
        None
    }

    /// All of a tensor's bytes.
    fn read_all<'a>(&'a self, name: &'a str) -> Read<'a> {
        match self.get(name) {
            Ok(info) => self.read(name, 0..info.numel()),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Whether [`get`](Self::get) would succeed.
    fn contains(&self, name: &str) -> bool {
        self.get(name).is_ok()
    }
}

macro_rules! forward_to_inner {
    ($($holder:ty),*) => {$(
        impl<S: Tensors + ?Sized> Tensors for $holder {
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
            fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
                (**self).as_stored(name)
            }
            fn metadata(&self, key: &str) -> Option<&str> {
                (**self).metadata(key)
            }
        }
    )*};
}
forward_to_inner!(&S, Box<S>, std::rc::Rc<S>, std::sync::Arc<S>);
