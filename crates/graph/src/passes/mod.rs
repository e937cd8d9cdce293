//! Rewrites of a graph that keep its numbers: what can be done in one kernel becomes one node, and what does not
//! change from step to step becomes a graph of its own. [`crate::Graph::listing`] before and after shows what a
//! pass did.

mod fuse;
mod split;

pub use fuse::fuse;
pub use split::split;
