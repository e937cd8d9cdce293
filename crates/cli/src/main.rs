//! The `calotype` command: a thin shell around the library of that name.

mod adapters;
mod args;
mod bench;
mod check;
mod compat;
mod convert;
mod device;
mod download;
mod exit;
mod files;
mod generate;
mod grid;
mod hashes;
mod inspect;
mod interrupt;
mod latents;
mod memory;
mod output;
mod plan;
mod preview;
mod progress;
mod report;
mod serve;
mod styles;
mod text;
mod wanted;

use args::Command;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let started = Instant::now();
    #[cfg(unix)]
    interrupt::outlive_file_limits();
    #[cfg(target_os = "linux")]
    device::ask_no_compositor();
    let typed: Vec<OsString> = std::env::args_os().collect();
    // A server's clients know fields, and no flags.
    let serves = typed.get(1).is_some_and(|command| command == "serve");
    calotype::Field::spell_with(if serves { calotype_serve::spelled } else { args::flag });
    let cli = match args::parse(&typed) {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    text::log_to_stderr();
    let done = match cli.command {
        Command::Generate(args) => generate::run(&args),
        Command::Grid(args) => grid::run(&args, &typed),
        Command::Bench(args) => bench::run(&args, started),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Compat(args) => compat::run(&args),
        Command::Serve(args) => serve::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::code(&error),
    }
}
