//! Computation as data. A [`Graph`] is built op by op, each checking its shapes as it is added; [`passes`] fuse
//! and split it; [`plan`] turns lifetimes into reused memory, so that the peak is known before anything is
//! allocated; [`lower()`] picks a kernel for every node and writes a [`Recording`], which can be printed, diffed and
//! counted with no GPU present. An [`Executor`] runs it: the CPU interprets the graph, a GPU the recording.

mod caps;
mod cuts;
mod error;
mod executor;
mod graph;
mod host;
mod launch;
pub mod lower;
pub mod ops;
mod pack;
pub mod passes;
mod places;
pub mod plan;
mod precision;
mod quant;
mod recording;
mod segments;
mod splits;
mod stream;
mod value;

pub use calotype_tensor::LocalFuture;
pub use caps::Caps;
pub use error::Error;
pub use executor::{
    Clock, Executor, MemoryUse, Port, PortId, Ports, Profile, Program, ProgramSpec, Room, Span,
};
pub use graph::{Graph, Node};
pub use host::Host;
pub use lower::lower;
pub use ops::{Activation, Op};
pub use pack::pack_each;
pub use places::Plan;
pub use precision::Precision;
pub use quant::Quant;
pub use recording::Recording;
pub use segments::{Segment, loads, segments};
pub use stream::Streamed;
pub use value::{Elem, Layout, Rate, Source, Tensor, Value, ValueId, Weight, WeightId};
