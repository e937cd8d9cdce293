//! What tests and benchmarks of every executor share: op [`cases()`] from which correctness tests, benchmarks and
//! FLOP counts are derived, [`run_case`], error measures, and PyTorch's results for single ops ([`goldens`]).

mod case;
mod cases;
pub mod check;
mod fill;
pub mod goldens;
mod measure;
mod run;

pub use case::{Builder, Case, Tolerance};
pub use cases::{cases, unfused_cases};
pub use fill::Fill;
pub use measure::{error, max_error_relative_to_largest};
pub use run::{SEED, run_case, tensor_of};
