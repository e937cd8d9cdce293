//! The cases, by op: the shapes of Stable Diffusion 1.5 (with fewer pixels where a software GPU would be slow),
//! and awkward ones: ones, primes, just past a tile, channels that are no multiple of four.

mod fused;

use crate::Case;
use calotype_graph::each_op;
pub use fused::unfused_cases;

macro_rules! files {
    ($($stem:ident $name:ident,)*) => {
        $(mod $stem;)*

        /// Every case.
        pub fn cases() -> Vec<Case> {
            [$($stem::cases(),)* fused::cases()].into_iter().flatten().collect()
        }
    };
}

each_op!(files);
