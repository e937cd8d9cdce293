//! Normals as TensorFlow draws them, which KerasCV's pictures begin from: Philox 4x32 with ten rounds
//! (tensorflow/core/lib/random/philox_random.h), two normals a pair of words by Box and Muller (random_distributions.h). A
//! tensor is filled in its own order, which for latents is NHWC, the whole batch at once; on the CPU and on GPUs alike.

use super::philox::block;

/// What a stateless op's seed is scrambled with (tensorflow/core/kernels/stateless_random_ops.cc, `ScramblePhiloxKey`).
const SCRAMBLE: [u32; 2] = [0x3ec8_f720, 0x0246_1e29];

/// The graph's seed where none is set (tensorflow/python/framework/random_seed.py).
const DEFAULT_SEED: u32 = 87_654_321;

/// The least uniform number that a logarithm is taken of.
const LEAST: f32 = 1e-7;

/// A generator of one tensor's normals.
#[derive(Clone, Debug)]
pub struct TensorFlow {
    key: [u32; 2],
    /// The upper half of the counter; the lower counts blocks.
    stream: [u32; 2],
}

impl TensorFlow {
    /// `tf.random.stateless_normal(shape, seed=[a, b])`.
    pub fn stateless(seed: [u64; 2]) -> TensorFlow {
        let [a, b] = seed.map(halves);
        let [k0, k1, s0, s1] = block([a[0], a[1], b[0], b[1]], SCRAMBLE);
        TensorFlow { key: [k0, k1], stream: [s0, s1] }
    }

    /// The first `tf.random.normal(shape, seed=seed)` of a program that sets no seed for all.
    pub fn stateful(seed: u64) -> TensorFlow {
        TensorFlow { key: [DEFAULT_SEED, 0], stream: halves(seed) }
    }

    /// Fills `out`, the tensor in its own order.
    pub fn randn(&self, out: &mut [f32]) {
        for (i, four) in out.chunks_mut(4).enumerate() {
            let [low, high] = halves(i as u64);
            let words = block([low, high, self.stream[0], self.stream[1]], self.key);
            let normals = [pair(words[0], words[1]), pair(words[2], words[3])];
            four.iter_mut().zip(normals.concat()).for_each(|(value, normal)| *value = normal);
        }
    }
}

/// The low 32 bits, then the high.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Uniform in `0..1`, from 23 bits.
fn uniform(bits: u32) -> f32 {
    (bits & 0x007f_ffff) as f32 / 8_388_608.0
}

fn pair(first: u32, second: u32) -> [f32; 2] {
    let radius = (-2.0 * f64::from(uniform(first).max(LEAST)).ln()).sqrt();
    // The angle is a product of doubles, kept as a float.
    let angle = (std::f64::consts::TAU * f64::from(uniform(second))) as f32;
    let (sin, cos) = f64::from(angle).sin_cos();
    [(radius * sin) as f32, (radius * cos) as f32]
}
