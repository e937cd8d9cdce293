//! Lines for people: results on stdout, everything else on stderr.

pub use calotype::bytes;
pub use calotype_bench::columns as table;

use calotype::{Encoding, Quant};
use env_logger::{Builder, Env};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::io::{IsTerminal, Write};

/// What is logged where `RUST_LOG` says nothing. wgpu complains of every driver that it does not like; what the GPU
/// reports comes back as an error anyway.
const DEFAULT_LOG: &str = "warn,wgpu_core=off,wgpu_hal=off,wgpu=off,naga=off,calotype_gpu=off";

/// Sends warnings to stderr as one line each.
pub fn log_to_stderr() {
    Builder::from_env(Env::default().default_filter_or(DEFAULT_LOG))
        .format(|out, record| {
            let level = match record.level() {
                log::Level::Warn => "warning",
                log::Level::Error => "error",
                log::Level::Info => "info",
                log::Level::Debug => "debug",
                log::Level::Trace => "trace",
            };
            clear_line();
            writeln!(out, "{level}: {}", one_line(&record.args().to_string()))
        })
        .init();
}

/// Standard output takes no more: it is full, or nobody reads it.
#[derive(Debug)]
pub struct Stdout(pub std::io::Error);

impl fmt::Display for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output cannot be written to: {}", self.0)
    }
}

impl std::error::Error for Stdout {}

/// A failure that was told when it came.
#[derive(Debug)]
pub struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed; what was said stands above")
    }
}

impl std::error::Error for Told {}

/// Clears a progress bar from the line it stands on. Windows' older consoles print escape sequences as they are.
fn clear_line() {
    if std::io::stderr().is_terminal() {
        let _ = console::Term::stderr().clear_line();
    }
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn to_stderr(line: &str) {
    clear_line();
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints `error: …`.
pub fn error(text: &str) {
    to_stderr(&format!("error: {}", one_line(text)));
}

/// Prints a line that is not a result.
pub fn note(text: &str) {
    to_stderr(&one_line(text));
}

/// Prints a result.
pub fn result(text: &str) -> anyhow::Result<()> {
    Ok(to_stdout(OsStr::new(text))?)
}

fn to_stdout(line: &OsStr) -> Result<(), Stdout> {
    // A name that is not UTF-8 is printed as it is, where a system has such bytes and not a console of 16-bit characters.
    let text = line.to_string_lossy();
    let line = if cfg!(unix) { line.as_encoded_bytes() } else { text.as_bytes() };
    let line = [line, b"\n"].concat();
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(Stdout)
}

/// What a run prints. Its pictures do not wait for a reader: where stdout fails that is told, and lines go to stderr.
#[derive(Default)]
pub struct Lines {
    failed: bool,
}

impl Lines {
    pub fn print(&mut self, line: impl AsRef<OsStr>) {
        if !self.failed
            && let Err(e) = to_stdout(line.as_ref())
        {
            self.failed = true;
            error(&format!("{e}; drawing goes on, and what would stand there is told here"));
        }
        if self.failed {
            note(&line.as_ref().to_string_lossy());
        }
    }

    /// Fails if a line could not be printed.
    pub fn end(self) -> Result<(), Told> {
        if self.failed { Err(Told) } else { Ok(()) }
    }
}

/// Prints a result as JSON: one line.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    result(&serde_json::to_string(value)?)
}

/// What of these blocks devices hold as others, in words; none where there are no such.
pub fn turned(blocks: impl IntoIterator<Item = Encoding>) -> Option<String> {
    let names: BTreeSet<&str> = blocks
        .into_iter()
        .filter(|own| Quant::held(*own).is_some_and(|held| held != *own))
        .map(Encoding::name)
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("{} of the file held as {}", names.join(", "), Encoding::Q8_0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(450 << 20), "450.0 MiB");
        assert_eq!(bytes(2 << 30), "2.00 GiB");
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("Caused by:\n  a\n\n  b\n"), "Caused by: a b");
    }
}
