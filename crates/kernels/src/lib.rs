//! What a Vulkan driver's compiler makes of the engine's kernels: whether it takes them, how many instructions and cycles
//! they come to, what it spills, and whether a loop waits for what it has just asked memory for. Nothing is executed, so a
//! driver without its GPU will do. `examples/kernels.rs` is the command; docs/kernels.md what it found.

mod driver;
mod loops;
mod picks;
mod spirv;
mod survey;
mod table;

pub use driver::{Compiled, Driver};
pub use loops::{Loop, main_loop};
pub use picks::{Pick, picks};
pub use spirv::{bytes, spirv, without_strides};
pub use survey::{Counted, Survey, measure};
pub use table::{notes, rewrite};
