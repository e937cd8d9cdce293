use calotype_tensor::DType;
use half::f16;
use safetensors::Dtype;
use std::borrow::Cow;
use std::fmt;

/// How a file holds a tensor's numbers: any of the types that safetensors has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored(Dtype);

impl Stored {
    /// The type in lower case, as in `f8_e4m3`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Dtype::BOOL => "bool",
            Dtype::U8 => "u8",
            Dtype::I8 => "i8",
            Dtype::U16 => "u16",
            Dtype::I16 => "i16",
            Dtype::U32 => "u32",
            Dtype::I32 => "i32",
            Dtype::U64 => "u64",
            Dtype::I64 => "i64",
            Dtype::F16 => "f16",
            Dtype::BF16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::C64 => "c64",
            Dtype::F4 => "f4",
            Dtype::F6_E2M3 => "f6_e2m3",
            Dtype::F6_E3M2 => "f6_e3m2",
            Dtype::F8_E4M3 => "f8_e4m3",
            Dtype::F8_E5M2 => "f8_e5m2",
            Dtype::F8_E8M0 => "f8_e8m0",
            Dtype::F8_E4M3FNUZ => "f8_e4m3fnuz",
            Dtype::F8_E5M2FNUZ => "f8_e5m2fnuz",
            _ => "a type of a newer safetensors",
        }
    }

    /// The type that the numbers are lent as: their own where graphs take it, f16 where it holds every one of them, and
    /// f32, rounded, for the rest. None for what is no real number, or has several to a byte.
    pub fn lent(self) -> Option<DType> {
        Some(match self.0 {
            Dtype::F16 | Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ => {
                DType::F16
            }
            Dtype::BF16 => DType::BF16,
            Dtype::F32 | Dtype::F64 | Dtype::F8_E8M0 | Dtype::BOOL => DType::F32,
            Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => DType::F32,
            Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => DType::F32,
            _ => return None,
        })
    }

    /// Whether it is a floating-point type, as learnt numbers are; counts and positions are integers.
    pub fn is_float(self) -> bool {
        self.name().trim_start_matches('b').starts_with('f')
    }

    /// Bytes that an element takes, at least one.
    pub fn size(self) -> usize {
        self.0.bitsize().div_ceil(8)
    }

    /// Whole elements as [`lent`](Self::lent) has them, little-endian both.
    pub(crate) fn lend(self, bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
        fn f32s<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<u8> {
            bytes.as_chunks().0.iter().flat_map(|b| value(*b).to_le_bytes()).collect()
        }
        fn f16s(bytes: &[u8], value: impl Fn(u8) -> f32) -> Vec<u8> {
            bytes.iter().flat_map(|b| f16::from_f32(value(*b)).to_le_bytes()).collect()
        }
        Cow::Owned(match self.0 {
            Dtype::F64 => f32s(&bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::BOOL => f32s(&bytes, |[b]| f32::from(b != 0)),
            Dtype::U8 => f32s(&bytes, |[b]| f32::from(b)),
            Dtype::I8 => f32s(&bytes, |b| f32::from(i8::from_le_bytes(b))),
            Dtype::U16 => f32s(&bytes, |b| f32::from(u16::from_le_bytes(b))),
            Dtype::I16 => f32s(&bytes, |b| f32::from(i16::from_le_bytes(b))),
            Dtype::U32 => f32s(&bytes, |b| u32::from_le_bytes(b) as f32),
            Dtype::I32 => f32s(&bytes, |b| i32::from_le_bytes(b) as f32),
            Dtype::U64 => f32s(&bytes, |b| u64::from_le_bytes(b) as f32),
            Dtype::I64 => f32s(&bytes, |b| i64::from_le_bytes(b) as f32),
            Dtype::F8_E8M0 => f32s(&bytes, |[b]| e8m0(b)),
            // The upper half of an f16.
            Dtype::F8_E5M2 => bytes.iter().flat_map(|b| [0, *b]).collect(),
            Dtype::F8_E4M3 => f16s(&bytes, e4m3),
            Dtype::F8_E4M3FNUZ => f16s(&bytes, |b| fnuz(b, 3)),
            Dtype::F8_E5M2FNUZ => f16s(&bytes, |b| fnuz(b, 2)),
            _ => return bytes,
        })
    }
}

impl From<Dtype> for Stored {
    fn from(dtype: Dtype) -> Self {
        Self(dtype)
    }
}

impl From<DType> for Stored {
    fn from(dtype: DType) -> Self {
        Self(match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::U32 => Dtype::U32,
        })
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sign, exponent and `mantissa` bits of fraction, without infinities.
fn small(byte: u8, mantissa: i32, bias: i32) -> f32 {
    let magnitude = i32::from(byte & 0x7f);
    let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
    let value = match exponent {
        0 => fraction as f32 * 2f32.powi(1 - bias - mantissa),
        _ => (fraction + (1 << mantissa)) as f32 * 2f32.powi(exponent - bias - mantissa),
    };
    if byte & 0x80 == 0 { value } else { -value }
}

/// Micikevicius et al. 2022, "FP8 Formats for Deep Learning", arXiv:2209.05433.
fn e4m3(byte: u8) -> f32 {
    if byte & 0x7f == 0x7f { f32::NAN } else { small(byte, 3, 7) }
}

/// Noune et al. 2022, "8-bit Numerical Formats for Deep Neural Networks", arXiv:2206.02915: the bias is one more, and
/// what would be minus zero is NaN.
fn fnuz(byte: u8, mantissa: i32) -> f32 {
    if byte == 0x80 { f32::NAN } else { small(byte, mantissa, 1 << (6 - mantissa)) }
}

/// A power of two (OCP Microscaling Formats, version 1.0, 5.4.1).
fn e8m0(byte: u8) -> f32 {
    if byte == 0xff { f32::NAN } else { 2f64.powi(i32::from(byte) - 127) as f32 }
}
