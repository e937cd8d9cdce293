//! Fixed work, measured: what `calotype bench` runs and writes down. docs/benchmarks.md tells how to read it.
//!
//! [`measure`] draws a [`Task`] again and again on an open pipeline, [`sweep`] times its steps at several sizes; both make
//! parts of a [`Record`], which [`render`] shows, [`compare`] holds against another and [`plot`] draws.

mod compare;
mod error;
mod ops;
mod plot;
mod presets;
mod record;
mod run;
mod stats;
mod sweep;
mod table;
mod trace;

pub use compare::compare;
pub use error::{Error, Result};
pub use plot::plot;
pub use presets::{FIXED, PRESETS, PROMPT, Preset, QUICK, listing};
pub use record::{
    Cold, Computer, DeviceInfo, OpRow, Ops, Planned, Point, ProgramInfo, Record, RunRecord, SCHEMA, StageOps,
    Sweep, Warm, Workload,
};
pub use run::{Bench, Measured, Task, Watch, measure};
pub use stats::{Samples, Verdict};
pub use sweep::{SweepTask, render as render_sweep, sweep};
pub use table::{columns, device, render};
