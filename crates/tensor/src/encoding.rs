use crate::DType;
use std::fmt;

/// How a file stores a tensor's numbers: one by one, or in blocks that share a scale. What they are lent as is a
/// [`DType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Encoding {
    F32,
    F16,
    BF16,
    F64,
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    C64,
    F4,
    F6E2M3,
    F6E3M2,
    F8E4M3,
    F8E5M2,
    F8E8M0,
    F8E4M3Fnuz,
    F8E5M2Fnuz,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    /// One that no decoder is there for, by what it is called. How large it is is not known either.
    Unknown(&'static str),
}

/// What is known of an encoding.
struct Facts {
    name: &'static str,
    /// Elements of a block, and the bytes they take.
    block: [usize; 2],
    lent: Option<DType>,
}

impl Encoding {
    /// Numbers are lent as they are where graphs take them, as f16 where it holds every one of them, and as f32, rounded,
    /// otherwise. What is no real number, and what no decoder is there for, is not lent.
    const fn facts(self) -> Facts {
        let (name, block, lent) = match self {
            Self::F32 => ("f32", [1, 4], Some(DType::F32)),
            Self::F16 => ("f16", [1, 2], Some(DType::F16)),
            Self::BF16 => ("bf16", [1, 2], Some(DType::BF16)),
            Self::F64 => ("f64", [1, 8], Some(DType::F32)),
            Self::Bool => ("bool", [1, 1], Some(DType::F32)),
            Self::U8 => ("u8", [1, 1], Some(DType::F32)),
            Self::I8 => ("i8", [1, 1], Some(DType::F32)),
            Self::U16 => ("u16", [1, 2], Some(DType::F32)),
            Self::I16 => ("i16", [1, 2], Some(DType::F32)),
            Self::U32 => ("u32", [1, 4], Some(DType::F32)),
            Self::I32 => ("i32", [1, 4], Some(DType::F32)),
            Self::U64 => ("u64", [1, 8], Some(DType::F32)),
            Self::I64 => ("i64", [1, 8], Some(DType::F32)),
            Self::C64 => ("c64", [1, 8], None),
            Self::F4 => ("f4", [2, 1], None),
            Self::F6E2M3 => ("f6_e2m3", [4, 3], None),
            Self::F6E3M2 => ("f6_e3m2", [4, 3], None),
            Self::F8E4M3 => ("f8_e4m3", [1, 1], Some(DType::F16)),
            Self::F8E5M2 => ("f8_e5m2", [1, 1], Some(DType::F16)),
            Self::F8E8M0 => ("f8_e8m0", [1, 1], Some(DType::F32)),
            Self::F8E4M3Fnuz => ("f8_e4m3fnuz", [1, 1], Some(DType::F16)),
            Self::F8E5M2Fnuz => ("f8_e5m2fnuz", [1, 1], Some(DType::F16)),
            // ggml's blocks (`src/ggml-common.h`): scales, and small integers.
            Self::Q4_0 => ("q4_0", [32, 18], Some(DType::F32)),
            Self::Q4_1 => ("q4_1", [32, 20], Some(DType::F32)),
            Self::Q5_0 => ("q5_0", [32, 22], Some(DType::F32)),
            Self::Q5_1 => ("q5_1", [32, 24], Some(DType::F32)),
            Self::Q8_0 => ("q8_0", [32, 34], Some(DType::F32)),
            Self::Q2K => ("q2_k", [256, 84], Some(DType::F32)),
            Self::Q3K => ("q3_k", [256, 110], Some(DType::F32)),
            Self::Q4K => ("q4_k", [256, 144], Some(DType::F32)),
            Self::Q5K => ("q5_k", [256, 176], Some(DType::F32)),
            Self::Q6K => ("q6_k", [256, 210], Some(DType::F32)),
            Self::Unknown(name) => (name, [1, 0], None),
        };
        Facts { name, block, lent }
    }

    /// The name in lower case, as in `f8_e4m3`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Elements that are stored together, and the bytes that they take.
    pub const fn block(self) -> [usize; 2] {
        self.facts().block
    }

    /// The type that the numbers are lent as; none where they are not lent.
    pub const fn lent(self) -> Option<DType> {
        self.facts().lent
    }

    /// Whether it holds real numbers, as learnt ones are; counts and positions are integers.
    pub const fn is_float(self) -> bool {
        use Encoding::{Bool, C64, I8, I16, I32, I64, U8, U16, U32, U64};
        !matches!(self, Bool | U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64 | C64)
    }

    /// Bytes that so many elements take.
    pub const fn bytes(self, elements: usize) -> u64 {
        let [block, bytes] = self.block();
        elements.div_ceil(block) as u64 * bytes as u64
    }
}

impl From<DType> for Encoding {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            DType::U32 => Self::U32,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
