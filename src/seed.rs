use std::hash::{BuildHasher, Hasher, RandomState};

/// A random seed, which is short enough to be typed again: 32 bits.
pub fn random_seed() -> u64 {
    u64::from(RandomState::new().build_hasher().finish() as u32)
}
