//! Computation as data. A [`Graph`] is built op by op, each checking its shapes as it is added; [`passes`] fuse
//! and split it; [`plan`] turns lifetimes into reused memory, so that the peak is known before anything is
//! allocated; [`lower()`] picks a kernel for every node and writes a [`Recording`], which can be printed, diffed and
//! counted with no GPU present. An [`Executor`] runs it: the CPU interprets the graph, a GPU the recording.

mod error;
mod executor;
mod graph;
pub mod lower;
pub mod ops;
mod pack;
pub mod passes;
pub mod plan;
mod value;

pub use error::Error;
pub use executor::{
    Clock, Executor, LocalFuture, MemoryUse, Port, PortId, Ports, Precision, Profile, Program, ProgramSpec,
    Room, Span, WeightFetch,
};
pub use graph::{Graph, Node};
pub use lower::{Caps, Host, Recording, lower};
pub use ops::{Activation, Op};
pub use pack::pack_each;
pub use plan::Plan;
pub use value::{Elem, Layout, Rate, Source, Tensor, Value, ValueId, Weight, WeightId};
