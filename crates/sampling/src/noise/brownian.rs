//! Noise of a Brownian path over sigma, as k-diffusion's `BrownianTreeNoiseSampler` has it from torchsde's `BrownianTree`
//! (torchsde: _brownian/brownian_interval.py, derived.py): whoever asks for the same stretch gets the same numbers, in
//! whatever order, and stretches that overlap are correlated as they are on one path.
//!
//! The path is halved again and again, each half's gain drawn with a seed of its own by numpy's `SeedSequence` (O'Neill's
//! `seed_seq_fe`; numpy: random/bit_generator.pyx), until the ends of the stretch are found to six decimals.

use std::collections::HashMap;

/// How many normals a batch's paths keep, which is some hundred seeds' for a large picture: they can be drawn again.
const KEPT: usize = 1 << 24;

/// One path.
#[derive(Debug)]
pub struct Path {
    entropy: u64,
    /// The smallest and the largest sigma.
    span: [f64; 2],
    /// Seeds met so far, with their normals.
    drawn: HashMap<u32, Vec<f32>>,
    /// How many normals it keeps.
    kept: usize,
}

/// A stretch of a path that is halved at `middle`, and where it lies in the tree.
#[derive(Clone, Copy)]
struct Node {
    start: f64,
    end: f64,
    index: u64,
    depth: u32,
}

impl Path {
    /// A path over `span`.
    pub fn new(entropy: u64, span: [f64; 2]) -> Path {
        Path { entropy, span, drawn: HashMap::new(), kept: KEPT }
    }

    /// The same, as one of `paths` that share what is kept.
    pub(super) fn shared(self, paths: usize) -> Path {
        Path { kept: KEPT / paths.max(1), ..self }
    }

    /// What a step from `from` down to `to` adds, at unit variance; `normals` fills a vector with the normals of a seed.
    pub fn noise(
        &mut self,
        from: f64,
        to: f64,
        length: usize,
        normals: &dyn Fn(u32, &mut [f32]),
    ) -> Vec<f32> {
        let scale = 1.0 / (from - to).abs().sqrt();
        let mut sum = vec![0.0f64; length];
        if self.drawn.len() * length > self.kept {
            self.drawn.clear();
        }
        for (seed, weight) in self.terms(to.min(from), to.max(from)) {
            let drawn = self.drawn.entry(seed).or_insert_with(|| {
                let mut values = vec![0.0; length];
                normals(seed, &mut values);
                values
            });
            sum.iter_mut().zip(drawn).for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        // The peer runs its path upwards: a step down is its gain turned round.
        sum.into_iter().map(|gain| (-gain * scale) as f32).collect()
    }

    /// The gain from `start` to `end` as weights of the seeds' normals.
    pub fn terms(&self, start: f64, end: f64) -> Vec<(u32, f64)> {
        let [low, high] = self.span;
        let root = Node { start: decimals(low), end: decimals(high), index: 0, depth: 0 };
        let top = SeedSequence::new(self.entropy, None).state(0);
        let ends = [decimals(start).max(root.start), decimals(end).min(root.end)];
        let mut sum = Vec::new();
        self.gather(root, &[(top, (high - low).sqrt())], ends, &mut sum);
        let mut joined: Vec<(u32, f64)> = Vec::new();
        for (seed, weight) in sum {
            match joined.iter_mut().find(|(known, _)| *known == seed) {
                Some((_, sum)) => *sum += weight,
                None => joined.push((seed, weight)),
            }
        }
        joined
    }

    /// Adds the gain of the part of a node within `ends`; `gain` is the whole node's.
    fn gather(&self, node: Node, gain: &[(u32, f64)], [start, end]: [f64; 2], sum: &mut Vec<(u32, f64)>) {
        let Node { start: low, end: high, index, depth } = node;
        if start >= high || end <= low {
            return;
        }
        let middle = decimals(0.5 * (low + high));
        if (start <= low && end >= high) || middle <= low || middle >= high {
            return sum.extend(gain);
        }
        let seed = SeedSequence::new(self.entropy, Some([index, u64::from(depth)])).state(0);
        let share = (middle - low) / (high - low);
        let bridge = ((middle - low) * (high - middle) / (high - low)).sqrt();
        let part = |share: f64, bridge: f64| -> Vec<(u32, f64)> {
            gain.iter().map(|(seed, weight)| (*seed, weight * share)).chain([(seed, bridge)]).collect()
        };
        let half = |start, end, right: u64| Node { start, end, index: 2 * index + right, depth: depth + 1 };
        self.gather(half(low, middle, 0), &part(share, bridge), [start, end], sum);
        self.gather(half(middle, high, 1), &part(1.0 - share, -bridge), [start, end], sum);
    }
}

/// To six decimals, as Python rounds: by the number's exact value.
fn decimals(value: f64) -> f64 {
    format!("{value:.6}").parse().unwrap_or(value)
}

/// Words of the pool that torchsde asks for.
const POOL: usize = 24;

/// numpy's `SeedSequence(entropy, spawn_key, pool_size=24)`.
pub struct SeedSequence([u32; POOL]);

/// A multiplicative hash whose multiplier moves on at each use.
struct Hash(u32);

impl Hash {
    const A: u32 = 0x931e_8875;
    const B: u32 = 0x58f3_8ded;

    fn mix(&mut self, value: u32, by: u32) -> u32 {
        let value = value ^ self.0;
        self.0 = self.0.wrapping_mul(by);
        let value = value.wrapping_mul(self.0);
        value ^ (value >> 16)
    }
}

impl SeedSequence {
    /// From entropy and where the sequence was spawned.
    pub fn new(entropy: u64, spawned: Option<[u64; 2]>) -> SeedSequence {
        let mut words = integer(entropy);
        if let Some(key) = spawned {
            words.resize(POOL, 0);
            key.into_iter().for_each(|part| words.extend(integer(part)));
        }
        let mut hash = Hash(0x43b0_d7e5);
        let mut pool = [0u32; POOL];
        for (i, slot) in pool.iter_mut().enumerate() {
            *slot = hash.mix(words.get(i).copied().unwrap_or(0), Hash::A);
        }
        let join = |x: u32, y: u32| {
            let mixed = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
            mixed ^ (mixed >> 16)
        };
        for from in 0..POOL {
            for to in (0..POOL).filter(|to| *to != from) {
                pool[to] = join(pool[to], hash.mix(pool[from], Hash::A));
            }
        }
        for &word in words.iter().skip(POOL) {
            for slot in &mut pool {
                *slot = join(*slot, hash.mix(word, Hash::A));
            }
        }
        SeedSequence(pool)
    }

    /// A word of `generate_state`.
    pub fn state(&self, at: usize) -> u32 {
        let mut hash = Hash(0x8b51_f9dd);
        (0..=at).map(|i| hash.mix(self.0[i % POOL], Hash::B)).last().unwrap_or(0)
    }
}

/// An integer as 32-bit words, the low one first.
fn integer(value: u64) -> Vec<u32> {
    match (value as u32, (value >> 32) as u32) {
        (low, 0) => vec![low],
        (low, high) => vec![low, high],
    }
}
