use crate::cuts::product::Tuned;
use crate::cuts::tiles::Matrices;
use crate::host::Host;
use calotype_tensor::{DType, Encoding, Shape};
use std::sync::Arc;

/// What lowering must know of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// Whether shaders may use f16.
    pub f16: bool,
    /// Whether kernels sum across subgroups.
    pub subgroups: bool,
    /// The cooperative matrices that products use.
    pub matrices: Option<Matrices>,
    /// Of the ways to cut up a product ([`crate::lower::candidates`]) use the one of this number only, or the last where there are
    /// fewer: how each is tried. A graph's launches are not held to any number then.
    pub only_cut: Option<usize>,
    /// How products are best cut up, as far as that was measured; for others there is an estimate.
    pub tuned: Arc<Tuned>,
    /// Whether more may yet be measured, and what is planned change by it.
    pub tunes: bool,
    /// About how many workgroups of a product the device works on at a time: the estimates' notion of its size.
    pub at_once: usize,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// The largest storage binding, in bytes.
    pub max_binding: u64,
    /// What offsets of bindings must be multiples of, in bytes.
    pub alignment: u64,
    /// Workgroups a dimension of a dispatch holds at most.
    pub max_groups: u32,
    /// How it computes in the host's memory, where it is no GPU.
    pub host: Option<Host>,
    /// Whether weights can pass through the device while it runs.
    pub streams: bool,
    /// Whether shaders run in software, on a processor's vector units: products then take the tile made for those.
    pub software: bool,
}

impl Default for Caps {
    /// What every WebGPU device has.
    fn default() -> Self {
        Self {
            f16: false,
            subgroups: false,
            matrices: None,
            only_cut: None,
            tuned: Arc::default(),
            tunes: false,
            at_once: 128,
            workgroup_bytes: 16 << 10,
            max_buffer: 256 << 20,
            max_binding: 128 << 20,
            alignment: 256,
            max_groups: 65_535,
            host: None,
            streams: true,
            software: false,
        }
    }
}

impl Caps {
    /// Bytes that elements take there.
    pub fn bytes(&self, shape: Shape, dtype: DType) -> u64 {
        shape.bytes(if self.host.is_some() { DType::F32 } else { dtype })
    }

    /// How weights are stored there that a graph wants stored so.
    pub fn stored(&self, wanted: Encoding) -> Encoding {
        if self.host.is_some() { Encoding::F32 } else { wanted }
    }

    /// What kernels that sum over a workgroup are defined by, besides their storage.
    pub(crate) fn sums(&self) -> &'static [&'static str] {
        if self.subgroups { &["SUBGROUPS"] } else { &[] }
    }
}
