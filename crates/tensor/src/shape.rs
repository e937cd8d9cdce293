use crate::DType;
use std::fmt;

/// The lengths of a tensor's axes, outermost first. Up to four axes; none means a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; 4],
    rank: u8,
}

impl Shape {
    /// A shape from its axes. Panics above four axes: no tensor here has more.
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= 4, "a shape has at most four axes, got {dims:?}");
        let mut all = [1; 4];
        all[..dims.len()].copy_from_slice(dims);
        Self { dims: all, rank: dims.len() as u8 }
    }

    /// The axes, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// How many elements there are; the most that can be counted where there are more.
    pub fn numel(&self) -> usize {
        self.dims().iter().fold(1, |n: usize, &d| n.saturating_mul(d))
    }

    /// Bytes that the elements take; the most that can be counted where there are more.
    pub fn bytes(&self, dtype: DType) -> u64 {
        self.dims().iter().fold(dtype.size() as u64, |n, &d| n.saturating_mul(d as u64))
    }

    /// The innermost axis: channels (1 for a scalar).
    pub fn channels(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Everything but the innermost axis multiplied out.
    pub fn rows(&self) -> usize {
        self.numel().checked_div(self.channels()).unwrap_or(0)
    }

    /// This shape with another innermost axis.
    pub fn with_channels(&self, channels: usize) -> Self {
        let mut out = *self;
        if self.rank > 0 {
            out.dims[self.rank as usize - 1] = channels;
        }
        out
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.dims().iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
