//! Philox 4x32 with ten rounds (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"), and normals from it as
//! A1111 draws them under the name NV (modules/rng_philox.py): those of `torch.randn` on a CUDA device, up to the last bit,
//! as long as no more values are asked for than the device has threads.

/// A generator of normals.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    /// How often normals were asked for.
    calls: u32,
}

/// `f32` of 2^-32, and of it times 2 pi, in the digits that the peer has.
const UNIT: f32 = 2.328_306_4e-10;
const TURN: f32 = (2.328_306_4e-10 * 6.283_185_5) as f32;

impl Philox {
    /// All 64 bits of the seed count.
    pub fn new(seed: u64) -> Philox {
        Philox { key: [seed as u32, (seed >> 32) as u32], calls: 0 }
    }

    /// Fills `out` with the next normals, one block of numbers each, of which half is used.
    pub fn randn(&mut self, out: &mut [f32]) {
        for (i, value) in out.iter_mut().enumerate() {
            let [a, b, ..] = block([self.calls, 0, i as u32, 0], self.key);
            let (unit, turn) = (f64::from(UNIT), f64::from(TURN));
            let u = f64::from(a) * unit + f64::from(UNIT / 2.0);
            let v = f64::from(b) * turn + f64::from(TURN / 2.0);
            *value = ((-2.0 * u.ln()).sqrt() * v.sin()) as f32;
        }
        self.calls = self.calls.wrapping_add(1);
    }
}

/// Ten rounds.
pub fn block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [a, b] = [(0xd251_1f53, counter[0]), (0xcd9e_8d57, counter[2])].map(|(m, c)| u64::from(c) * m);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}
