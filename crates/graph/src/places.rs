use crate::cuts::product::{Cut, Product};
use crate::value::ValueId;
use std::collections::HashMap;

/// A place in one of the activation buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which buffer.
    pub buffer: usize,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Where every value that a graph computes for itself lies. Values whose lifetimes do not overlap share bytes.
/// No node finds what it reads and what it writes in one buffer of a GPU, since WebGPU forbids binding a buffer for both;
/// the host's memory is one buffer, in which outputs lie to the end too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The buffers' sizes, largest first.
    pub buffers: Vec<u64>,
    /// Each value's place.
    pub places: HashMap<ValueId, Place>,
    /// Where the moments lie that a value's node leaves behind it ([`crate::ops::RowNorm`]), in the value's own place.
    pub moments: HashMap<ValueId, Place>,
    /// Each node's scratch places, by the node's index.
    pub scratch: HashMap<usize, Vec<Place>>,
    /// How each product is cut up, by the node's index: what slices of k sum needs scratch.
    pub cuts: HashMap<usize, (Product, Cut)>,
}

impl Plan {
    /// All buffers together.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().sum()
    }
}
