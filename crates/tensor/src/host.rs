use crate::{DType, Shape};
use half::{bf16, f16};

/// A tensor in host memory: owned little-endian bytes with a shape and an element type.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Shape,
    dtype: DType,
    bytes: Vec<u8>,
}

impl HostTensor {
    /// A tensor from raw little-endian bytes. Panics where the length is not the shape's.
    pub fn from_bytes(shape: impl Into<Shape>, dtype: DType, bytes: Vec<u8>) -> Self {
        let shape = shape.into();
        assert_eq!(bytes.len(), shape.numel() * dtype.size(), "bytes of a {dtype} tensor {shape}");
        Self { shape, dtype, bytes }
    }

    /// An f32 tensor. Panics where the number of values is not the shape's.
    pub fn from_f32(shape: impl Into<Shape>, values: &[f32]) -> Self {
        Self::from_bytes(shape, DType::F32, bytemuck::cast_slice(values).to_vec())
    }

    /// A u32 tensor. Panics where the number of values is not the shape's.
    pub fn from_u32(shape: impl Into<Shape>, values: &[u32]) -> Self {
        Self::from_bytes(shape, DType::U32, bytemuck::cast_slice(values).to_vec())
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The raw little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The values as f32 (u32 elements are converted by value).
    pub fn to_f32(&self) -> Vec<f32> {
        self.dtype.to_f32(&self.bytes)
    }

    /// The values as u32. Panics where the elements are not u32.
    pub fn to_u32(&self) -> Vec<u32> {
        assert_eq!(self.dtype, DType::U32, "elements are not u32");
        bytemuck::pod_collect_to_vec(&self.bytes)
    }

    /// The same values stored as `dtype` (round to nearest even).
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype {
            return self.clone();
        }
        let values = self.to_f32();
        let bytes = match dtype {
            DType::F32 => bytemuck::cast_slice(&values).to_vec(),
            DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
            DType::U32 => values.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
        };
        Self { shape: self.shape, dtype, bytes }
    }

    /// The same elements under another shape of equal size. Panics where the sizes differ.
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        Self::from_bytes(shape, self.dtype, self.bytes)
    }
}
