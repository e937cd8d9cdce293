//! The `calotype` command as a user meets it: what each flag does, what each mistake is told.

mod bad_input;
mod bad_model;
mod batches;
mod bench;
mod command_line;
mod compat;
mod convert;
mod docs;
mod embeddings;
mod generate;
mod grid;
mod hub;
mod hub_files;
mod hub_server;
#[cfg(unix)]
mod interrupt;
mod latents;
mod loras;
mod outputs;
mod pictures;
mod recalled;
mod recorded;
mod refiner;
mod report;
mod serve;
mod single_files;
#[cfg(unix)]
mod sizes;
#[cfg(target_os = "linux")]
mod streams;
mod styles;
mod support;
mod weights;
#[cfg(windows)]
mod windows;
