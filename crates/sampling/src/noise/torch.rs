//! Noise as PyTorch's CPU generator draws it, so that a seed gives the composition it gives there.
//!
//! The integers are the Mersenne Twister's (Matsumoto and Nishimura 1998). Normals are Box and Muller's, in one of
//! two ways that `torch.randn` chooses by size: below 16 values one after the other in float64, from 16 on in
//! blocks of 16 in float32, with logarithm, sine and cosine by Cephes' polynomials (Moshier). Those polynomials are
//! evaluated here with the same fused multiply-adds as torch's AVX2 code, so that the float32 values are equal
//! to the bit on x86; torch on other processors uses other approximations, a few units in the last place away.

use libm::fmaf;

/// Words of the Mersenne Twister's state, and the distance of its recurrence.
const STATE: usize = 624;
const SHIFT: usize = 397;

/// How many octants a radian is.
const FOUR_OVER_PI: f32 = 4.0 / std::f32::consts::PI;

/// Values from which on `torch.randn` works in blocks, and the size of a block.
const BLOCK: usize = 16;

/// `torch.Generator("cpu")`.
#[derive(Clone, Debug)]
pub struct Generator {
    state: [u32; STATE],
    next: usize,
    /// The second of a pair of normals that was drawn one at a time.
    spare: Option<f64>,
}

impl Generator {
    /// `torch.Generator("cpu").manual_seed(seed)`. Only the low 32 bits count, as in torch; a negative seed there is
    /// its two's complement here (`seed as u64`).
    pub fn new(seed: u64) -> Generator {
        let mut state = [seed as u32; STATE];
        for i in 1..STATE {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Generator { state, next: STATE, spare: None }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == STATE {
            for i in 0..STATE {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE] & 0x7fff_ffff);
                let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % STATE] ^ (joined >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in `0..1`, from 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Uniform in `0..1`, from 53 bits.
    fn uniform_f64(&mut self) -> f64 {
        let (high, low) = (u64::from(self.next_u32()), u64::from(self.next_u32()));
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// Fills `out` as `torch.randn(out.len(), generator=self)` does.
    pub fn randn(&mut self, out: &mut [f32]) {
        if out.len() < BLOCK {
            out.fill_with(|| self.normal_f64() as f32);
            return;
        }
        out.fill_with(|| self.uniform_f32());
        out.chunks_exact_mut(BLOCK).for_each(normal_block);
        // A remainder is not filled up but drawn again, together with the values before it.
        if !out.len().is_multiple_of(BLOCK) {
            let start = out.len() - BLOCK;
            let last = &mut out[start..];
            last.fill_with(|| self.uniform_f32());
            normal_block(last);
        }
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = 2.0 * std::f64::consts::PI * u1;
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Sixteen uniforms become sixteen normals, the cosines first.
fn normal_block(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * ln(1.0 - *a)).sqrt();
        let (sin, cos) = sin_cos(std::f32::consts::TAU * *b);
        (*a, *b) = (radius * cos, radius * sin);
    }
}

/// Horner's rule with fused multiply-adds, highest power first.
fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    coefficients[1..].iter().fold(coefficients[0], |sum, &c| fmaf(sum, x, c))
}

/// The leading bits of ln 2: few, so that multiples of it are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;

/// Cephes' `logf`, for positive normal numbers.
fn ln(x: f32) -> f32 {
    // x = 2^e (1 + m) with 1 + m in sqrt(1/2)..sqrt(2)
    let bits = x.to_bits();
    let mut e = ((bits >> 23) as i32 - 126) as f32;
    let mut m = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        e -= 1.0;
        m += m;
    }
    m -= 1.0;
    let z = m * m;
    #[allow(clippy::excessive_precision, reason = "Cephes' decimals as published")]
    let p = polynomial(
        [
            7.037_683_629_2e-2,
            -1.151_461_031_0e-1,
            1.167_699_874_0e-1,
            -1.242_014_084_6e-1,
            1.424_932_278_7e-1,
            -1.666_805_766_5e-1,
            2.000_071_476_5e-1,
            -2.499_999_399_3e-1,
            3.333_333_117_4e-1,
        ],
        m,
    );
    let tail = fmaf(p * m, z, e * -2.121_944_4e-4);
    let tail = fmaf(-0.5, z, tail);
    fmaf(e, LN_2_HIGH, m + tail)
}

/// Cephes' `sinf` and `cosf`, for `0..=2 pi`.
fn sin_cos(x: f32) -> (f32, f32) {
    // Octants, the odd ones counted to the next: what is left of x is within pi/4 of a multiple of pi/2.
    let octant = ((x * FOUR_OVER_PI) as i32 + 1) & !1;
    let j = octant as f32;
    // pi/4 in three parts, so that the subtraction loses nothing.
    let x = fmaf(j, -0.785_156_25, x);
    let x = fmaf(j, -2.418_756_5e-4, x);
    let x = fmaf(j, -3.774_895e-8, x);
    let z = x * x;
    let cos = polynomial([2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2], z);
    let cos = fmaf(cos * z, z, -0.5 * z) + 1.0;
    let sin = polynomial([-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1], z);
    let sin = fmaf(sin * z, x, x);
    match (octant / 2) % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}
