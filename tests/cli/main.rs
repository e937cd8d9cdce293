//! The `calotype` command as a user meets it: what each flag does, what each mistake is told.

mod bad_input;
mod bad_model;
mod batches;
mod generate;
#[cfg(unix)]
mod interrupt;
mod latents;
mod report;
mod support;
