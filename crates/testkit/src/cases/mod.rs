//! The cases, by op: the shapes of Stable Diffusion 1.5 (with fewer pixels where a software GPU would be slow),
//! and awkward ones: ones, primes, just past a tile, channels that are no multiple of four.

mod attention;
mod conv2d;
mod fused;
mod matmul;
mod moving;
mod norm;
mod pointwise;
mod steps;

use crate::Case;
pub use fused::unfused_cases;

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        matmul::cases(),
        conv2d::cases(),
        attention::cases(),
        norm::cases(),
        pointwise::cases(),
        moving::cases(),
        steps::cases(),
        fused::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
