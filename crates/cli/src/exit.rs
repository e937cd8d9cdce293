//! How a run ends: 0, 1 for a failure, 2 for a command line that cannot be honoured, 130 for Ctrl-C.

use crate::text::{self, Told};
use std::fmt;
use std::process::ExitCode;

/// A command line that cannot be honoured.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Ctrl-C.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped; the run that was under way left no file")
    }
}

impl std::error::Error for Interrupted {}

/// Prints an error as one line and says what to exit with.
pub fn code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Told>() {
        return ExitCode::FAILURE;
    }
    if error.is::<Interrupted>() {
        text::note(&error.to_string());
        return ExitCode::from(130);
    }
    text::error(&format!("{error:#}"));
    let usage = error.is::<Usage>() || error.downcast_ref::<calotype::Error>().is_some_and(|e| e.is_usage());
    ExitCode::from(if usage { 2 } else { 1 })
}
