//! The executor that needs no GPU: it walks a graph node by node and computes each op in the plainest way that is
//! not needlessly slow. Tests hold every other executor against it, and it is the fallback where there is no
//! adapter.
//!
//! All activations and weights are f32 in memory whatever storage the graph asks for; a port converts as it is
//! written and read. Products go through the `gemm` crate, everything else through rayon over rows.
//!
//! What graphs compute lies in one arena, by the plan that [`calotype_graph::plan`] makes of values and scratch: no run
//! allocates, and what a picture takes is known before anything is.

mod executor;
mod memory;
mod ops;
mod product;
mod program;
mod room;
mod threads;
mod values;

pub use executor::CpuExecutor;
