//! How a run ends: 0, 1 for a failure, 2 for a command line that cannot be honoured, 130 for Ctrl-C.

use crate::text::{self, Told};
use calotype::{Error, Field, Kind};
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
    let known = error.downcast_ref::<calotype::Error>();
    let more = known.and_then(more).map_or_else(String::new, |more| format!("; {more}"));
    text::error(&format!("{error:#}{more}"));
    let usage = error.is::<Usage>() || known.is_some_and(|e| e.is_usage());
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Which command tells more.
fn more(error: &Error) -> Option<&'static str> {
    match error {
        Error::NotEnoughMemory(shortage) if shortage.host => {
            Some("`calotype plan --backend cpu` with the same flags says where it goes")
        }
        _ if error.kind() == Kind::Memory => Some("`calotype plan` with the same flags says where it goes"),
        _ if matches!(error.field(), Some(Field::Adapter | Field::Tier)) => {
            Some("`calotype adapters` lists what there is")
        }
        _ => None,
    }
}
