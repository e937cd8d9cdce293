//! Noise from a seed, by the generators that seeds are given for.

mod brownian;
mod latents;
mod numpy;
mod philox;
mod tensorflow;
mod torch;
mod variation;

pub use brownian::{Path, SeedSequence};
pub use latents::{Latents, Origin};
pub use numpy::RandomState;
pub use philox::{Philox, block};
pub use tensorflow::TensorFlow;
pub use torch::Generator;
pub use variation::{Variation, slerp};

/// Which generators a batch draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSeeds {
    /// Image i has its own, seeded with seed + i, as a list of generators in diffusers: a picture does not depend
    /// on the batch it was made in.
    #[default]
    Each,
    /// One for the whole batch, seeded with the seed, as a single generator in diffusers.
    One,
}

impl std::str::FromStr for BatchSeeds {
    type Err = crate::Error;
    fn from_str(name: &str) -> Result<BatchSeeds, Self::Err> {
        match name {
            "each" => Ok(BatchSeeds::Each),
            "one" => Ok(BatchSeeds::One),
            _ => Err(crate::Error::Sampler(format!("batch seeds are \"each\" or \"one\", not \"{name}\""))),
        }
    }
}

/// Whose numbers a seed gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rng {
    /// PyTorch's CPU generator: diffusers, ComfyUI, and A1111 where it says CPU.
    #[default]
    Cpu,
    /// Philox, as A1111 has it under NV: what PyTorch draws on CUDA devices, as long as the pictures are not large.
    Cuda,
    /// numpy's RandomState: diffusers' ONNX pipelines.
    Numpy,
}

impl Rng {
    /// Every generator.
    pub const ALL: [Rng; 3] = [Rng::Cpu, Rng::Cuda, Rng::Numpy];
}

impl std::fmt::Display for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rng::Cpu => "cpu",
            Rng::Cuda => "cuda",
            Rng::Numpy => "numpy",
        })
    }
}

impl std::str::FromStr for Rng {
    type Err = crate::Error;
    fn from_str(name: &str) -> Result<Rng, Self::Err> {
        // A1111 calls PyTorch's CUDA generator NV.
        let given = name.to_ascii_lowercase();
        let known = |rng: &Rng| rng.to_string() == given || (*rng == Rng::Cuda && given == "nv");
        Rng::ALL.into_iter().find(known).ok_or_else(|| {
            let names = Rng::ALL.map(|rng| rng.to_string()).join(", ");
            crate::Error::Sampler(format!("no random numbers are called \"{name}\": choose one of {names}"))
        })
    }
}

/// From torch's order to ours: `[n, c, h, w]` to `[n, h, w, c]`. `values.len()` must be a multiple of `c * h * w`.
pub fn nchw_to_nhwc(values: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    permute(values, c, h * w)
}

/// From our order to torch's: `[n, h, w, c]` to `[n, c, h, w]`. `values.len()` must be a multiple of `c * h * w`.
pub fn nhwc_to_nchw(values: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    permute(values, h * w, c)
}

/// Transposes each `[rows, columns]` matrix of a batch.
fn permute(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            out.extend((0..rows).map(|row| matrix[row * columns + column]));
        }
    }
    out
}
