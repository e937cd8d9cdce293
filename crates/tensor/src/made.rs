use crate::tensors::{Read, TensorInfo, Tensors};
use crate::{DType, Error, HostTensor, Result, Shape};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Tensors that a function of their name and shape makes when they are read: for trials of a device, and for tests.
pub struct Made<F> {
    place: String,
    tensors: BTreeMap<String, TensorInfo>,
    make: F,
}

impl<F: Fn(&str, Shape) -> HostTensor> Made<F> {
    /// Tensors of these names, types and shapes. `make` gives values of the shape in any element type; `place` is where
    /// messages say that they are.
    pub fn new<N: Into<String>>(
        place: &str,
        tensors: impl IntoIterator<Item = (N, DType, Shape)>,
        make: F,
    ) -> Self {
        let info = |(name, dtype, shape): (N, DType, Shape)| {
            let (name, shape) = (name.into(), shape.dims().to_vec());
            (name.clone(), TensorInfo { name, dtype, encoding: dtype.into(), shape })
        };
        Self { place: place.into(), tensors: tensors.into_iter().map(info).collect(), make }
    }

    fn bytes(&self, name: &str, range: Range<usize>) -> Result<Vec<u8>> {
        let info = self.get(name)?;
        info.check(&range, || self.place.clone())?;
        let made = (self.make)(name, Shape::new(&info.shape)).cast(info.dtype);
        let size = info.dtype.size();
        Ok(made.bytes()[range.start * size..range.end * size].to_vec())
    }
}

impl<F: Fn(&str, Shape) -> HostTensor> Tensors for Made<F> {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        let missing = || Error::missing(name, &self.place, self.names());
        self.tensors.get(name).ok_or_else(missing)
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(std::future::ready(self.bytes(name, range).map(Cow::Owned)))
    }

    fn describe(&self, _name: &str) -> String {
        self.place.clone()
    }
}
