//! Normals as numpy's `RandomState(seed).randn` draws them: the Mersenne Twister, and Marsaglia's polar method in float64,
//! whose second value is kept for the next call (numpy: random/src/legacy/legacy-distributions.c).

use super::torch::Generator;

/// `numpy.random.RandomState`.
#[derive(Clone, Debug)]
pub struct RandomState {
    words: Generator,
    spare: Option<f64>,
}

impl RandomState {
    /// Only the low 32 bits count; numpy takes no others.
    pub fn new(seed: u64) -> RandomState {
        RandomState { words: Generator::new(seed), spare: None }
    }

    /// The next normals, rounded to float32.
    pub fn randn(&mut self, out: &mut [f32]) {
        out.fill_with(|| self.normal() as f32);
    }

    /// Uniform in `-1..1`, from 53 bits.
    fn uniform(&mut self) -> f64 {
        let (high, low) = (self.words.next_u32() >> 5, self.words.next_u32() >> 6);
        2.0 * ((f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0) - 1.0
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (self.uniform(), self.uniform());
            let square = a * a + b * b;
            if square < 1.0 && square != 0.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(scale * a);
                return scale * b;
            }
        }
    }
}
