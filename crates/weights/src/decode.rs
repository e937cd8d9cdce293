//! Numbers as files store them, made what they are lent as.

use calotype_tensor::{Encoding, blocks};
use half::f16;
use std::borrow::Cow;

/// Whole blocks of an encoding as it is lent ([`Encoding::lent`]), little-endian both.
pub fn lend(encoding: Encoding, bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    fn f32s<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<u8> {
        bytes.as_chunks().0.iter().flat_map(|b| value(*b).to_le_bytes()).collect()
    }
    fn f16s(bytes: &[u8], value: impl Fn(u8) -> f32) -> Vec<u8> {
        let all: [[u8; 2]; 256] = std::array::from_fn(|b| f16::from_f32(value(b as u8)).to_le_bytes());
        bytes.iter().flat_map(|b| all[usize::from(*b)]).collect()
    }
    Cow::Owned(match encoding {
        Encoding::F64 => f32s(&bytes, |b| f64::from_le_bytes(b) as f32),
        Encoding::Bool => f32s(&bytes, |[b]| f32::from(b != 0)),
        Encoding::U8 => f32s(&bytes, |[b]| f32::from(b)),
        Encoding::I8 => f32s(&bytes, |b| f32::from(i8::from_le_bytes(b))),
        Encoding::U16 => f32s(&bytes, |b| f32::from(u16::from_le_bytes(b))),
        Encoding::I16 => f32s(&bytes, |b| f32::from(i16::from_le_bytes(b))),
        Encoding::U32 => f32s(&bytes, |b| u32::from_le_bytes(b) as f32),
        Encoding::I32 => f32s(&bytes, |b| i32::from_le_bytes(b) as f32),
        Encoding::U64 => f32s(&bytes, |b| u64::from_le_bytes(b) as f32),
        Encoding::I64 => f32s(&bytes, |b| i64::from_le_bytes(b) as f32),
        Encoding::F8E8M0 => f32s(&bytes, |[b]| e8m0(b)),
        // The upper half of an f16.
        Encoding::F8E5M2 => bytes.iter().flat_map(|b| [0, *b]).collect(),
        Encoding::F8E4M3 => f16s(&bytes, e4m3),
        Encoding::F8E4M3Fnuz => f16s(&bytes, |b| fnuz(b, 3)),
        Encoding::F8E5M2Fnuz => f16s(&bytes, |b| fnuz(b, 2)),
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => return bytes,
        Encoding::Q4_0 | Encoding::Q4_1 | Encoding::Q5_0 | Encoding::Q5_1 | Encoding::Q8_0 => {
            blocks::decode(encoding, &bytes)
        }
        Encoding::Q2K | Encoding::Q3K | Encoding::Q4K | Encoding::Q5K | Encoding::Q6K => {
            blocks::decode(encoding, &bytes)
        }
        // Not lent.
        Encoding::C64 | Encoding::F4 | Encoding::F6E2M3 | Encoding::F6E3M2 | Encoding::Unknown(_) => {
            return bytes;
        }
    })
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
