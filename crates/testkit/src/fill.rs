use calotype_graph::ops::StepRow;
use calotype_tensor::HostTensor;

/// What a case's tensor holds. Everything drawn is a function of the seed, the tensor's name and its size.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Bell-shaped about `mean`, spread `spread`, never further than 3.5 spreads.
    Spread {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        spread: f32,
    },
    /// Whole numbers below this.
    Ids(u32),
    /// Rows of a step table.
    Steps(Vec<StepRow>),
    /// Just this, in the layout that the graph (an input) or the checkpoint (a weight) gives the tensor.
    Given(HostTensor),
}

impl Fill {
    /// `count` values; those of floats are such as f16 holds, so that no executor's rounding of inputs counts as
    /// an error.
    pub(crate) fn words(&self, name: &str, seed: u64, count: usize) -> Vec<u32> {
        let mut random =
            SplitMix64(name.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
        match self {
            Self::Spread { mean, spread } => {
                let value = |_| half::f16::from_f32(mean + spread * random.bell()).to_f32().to_bits();
                (0..count).map(value).collect()
            }
            Self::Ids(below) => (0..count).map(|_| (random.next() % u64::from(*below)) as u32).collect(),
            Self::Steps(rows) => rows.iter().flat_map(StepRow::words).collect(),
            Self::Given(tensor) => bytemuck::pod_collect_to_vec(tensor.bytes()),
        }
    }
}

/// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The sum of four uniform numbers, scaled to mean 0 and standard deviation 1.
    fn bell(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xffff).sum();
        (sum as f32 / 65_535.0 - 2.0) * 3f32.sqrt()
    }
}
