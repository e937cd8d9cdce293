use crate::{Error, Result};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{DType, Read, TensorInfo, Tensors};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// How a synthetic tensor's values are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// About normal around zero: the sum of four uniform numbers, so never beyond 3.47 standard deviations.
    Normal {
        /// The standard deviation.
        std: f32,
    },
    /// Every value the same.
    Constant(f32),
}

impl Init {
    /// What keeps activations realistic through a deep network, by the name and shape of the parameter: ones for a
    /// normalisation's scale, zeros for biases, 0.02 for embeddings, 1/√fan-in for matrices and kernels
    /// (LeCun et al., "Efficient BackProp", 1998).
    pub fn usual(name: &str, shape: &[usize]) -> Self {
        match shape {
            _ if name.ends_with(".bias") => Self::Constant(0.0),
            [_] => Self::Constant(1.0),
            _ if name.contains("embedding.weight") => Self::Normal { std: 0.02 },
            _ => {
                let fan_in: usize = shape.iter().skip(1).product();
                Self::Normal { std: (fan_in.max(1) as f32).sqrt().recip() }
            }
        }
    }
}

/// A tensor that a [`Synthetic`] source shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Its path.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its axes, in a checkpoint's order.
    pub shape: Vec<usize>,
    /// Its values.
    pub init: Init,
}

/// Random weights of declared shapes, made when they are read: a function of the seed, the tensor's name and the
/// element's index, so any part of any tensor can be made alone, and is the same every time and everywhere.
///
/// Values are rounded to f16 whatever the element type, so that an f16 and an f32 run of one seed have equal weights.
pub struct Synthetic {
    seed: u64,
    tensors: BTreeMap<String, (TensorInfo, Init)>,
}

impl Synthetic {
    /// Declares the tensors. Fails where a value would not be finite in f16, or an element type is not a float.
    pub fn new(seed: u64, declared: impl IntoIterator<Item = Declared>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for Declared { name, dtype, shape, init } in declared {
            let largest = match init {
                Init::Normal { std } => std * LARGEST_NORMAL,
                Init::Constant(value) => value,
            };
            if !f16::from_f32(largest).is_finite() {
                let why = format!("values up to {largest} are beyond f16");
                return Err(Error::BadDeclaration { tensor: name, why });
            }
            if dtype == DType::U32 {
                return Err(Error::BadDeclaration { tensor: name, why: "elements are not floats".into() });
            }
            let info = TensorInfo { name: name.clone(), dtype, encoding: dtype.into(), shape };
            tensors.insert(name, (info, init));
        }
        Ok(Self { seed, tensors })
    }

    /// Elements `range` of a tensor, rounded to f16.
    fn values(&self, info: &TensorInfo, init: Init, range: Range<usize>) -> Vec<f16> {
        let mut out = vec![f16::ZERO; range.len()];
        match init {
            Init::Constant(value) => out.fill(f16::from_f32(value)),
            Init::Normal { std } => {
                let key = mix(self.seed ^ hash(&info.name));
                // In blocks, because half converts slices with the processor's own instruction; on all processors.
                out.par_chunks_mut(BLOCK).enumerate().for_each(|(at, out)| {
                    let mut block = [0f32; BLOCK];
                    let block = &mut block[..out.len()];
                    let start = range.start + at * BLOCK;
                    for (i, value) in block.iter_mut().enumerate() {
                        *value = std * normal(mix(key.wrapping_add((start + i) as u64)));
                    }
                    out.convert_from_f32_slice(block);
                });
            }
        }
        out
    }

    fn make(&self, name: &str, range: Range<usize>) -> calotype_tensor::Result<Vec<u8>> {
        let info = self.get(name)?;
        info.check(&range, || self.describe(name))?;
        let values = self.values(info, self.tensors[name].1, range);
        Ok(match info.dtype {
            DType::F16 => bytemuck::cast_slice(&values).to_vec(),
            DType::BF16 => values.iter().flat_map(|v| bf16::from_f32(v.to_f32()).to_le_bytes()).collect(),
            DType::F32 | DType::U32 => bytemuck::cast_slice(&values.to_f32_vec()).to_vec(),
        })
    }
}

/// Numbers made at a time.
const BLOCK: usize = 4096;

impl Tensors for Synthetic {
    fn get(&self, name: &str) -> calotype_tensor::Result<&TensorInfo> {
        let missing = || calotype_tensor::Error::missing(name, self.describe(name), self.names());
        self.tensors.get(name).map(|(info, _)| info).ok_or_else(missing)
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(std::future::ready(self.make(name, range).map(Cow::Owned)))
    }

    fn describe(&self, _name: &str) -> String {
        format!("synthetic weights, seed {}", self.seed)
    }
}

/// The finaliser of SplitMix64 over a Weyl sequence (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014): 64 random bits from any counter.
fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a (Fowler, Noll, Vo).
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// √12: the most that [`normal`] can give is just below.
const LARGEST_NORMAL: f32 = 3.464_101_6;

/// Four 16-bit uniform numbers summed (the Irwin–Hall distribution of order 4, variance 4/12), centred and scaled to
/// variance 1.
fn normal(bits: u64) -> f32 {
    const UNIT: f32 = 1.0 / 65_536.0;
    const SQRT_3: f32 = 1.732_050_8;
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    // Each lane stands for the middle of its interval, hence the two.
    ((sum + 2) as f32 * UNIT - 2.0) * SQRT_3
}
