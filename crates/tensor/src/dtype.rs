use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::fmt;

/// How an element is stored. Arithmetic is always f32 at least, whatever the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: found in checkpoints only, never on a device (WGSL has no such type).
    BF16,
    /// Token ids, packed RGBA8 pixels, counters.
    U32,
}

impl DType {
    /// Bytes an element takes.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The lower-case name used in flags, plans and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::U32 => "u32",
        }
    }

    /// Little-endian elements as f32 (u32 elements are converted by value).
    pub fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytemuck::pod_collect_to_vec(bytes),
            Self::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).to_f32_vec(),
            Self::BF16 => bytemuck::pod_collect_to_vec::<u8, bf16>(bytes).to_f32_vec(),
            Self::U32 => {
                bytemuck::pod_collect_to_vec::<u8, u32>(bytes).into_iter().map(|v| v as f32).collect()
            }
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
