//! Tells the program which commit it is built from, for the records of `calotype bench`: from CALOTYPE_COMMIT where a
//! packager sets it, else from git, else not at all.

use std::path::Path;
use std::process::Command;

/// What the program is made of.
const SOURCES: [&str; 11] = [
    "Cargo.lock",
    "shaders",
    "src",
    "crates/tensor/src",
    "crates/shaders/src",
    "crates/graph/src",
    "crates/cpu/src",
    "crates/gpu/src",
    "crates/models/src",
    "crates/pipeline/src",
    "crates/weights/src",
];

fn main() {
    println!("cargo::rerun-if-env-changed=CALOTYPE_COMMIT");
    // A new commit moves the log; a change that is in none shows in the sources, which are built again anyway.
    let sources = SOURCES.iter().map(|source| format!("../../{source}"));
    for path in sources.chain(["../../.git/logs/HEAD".to_string()]) {
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let given = std::env::var("CALOTYPE_COMMIT").ok();
    println!("cargo::rustc-env=CALOTYPE_COMMIT={}", given.or_else(from_git).unwrap_or_default());
}

/// The commit, with `+` where sources differ from it.
fn from_git() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|o| o.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let sources = SOURCES.map(|source| format!(":/{source}"));
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&status.into_iter().chain(sources.iter().map(String::as_str)).collect::<Vec<_>>())?;
    Some(format!("{}{}", commit.trim(), if changed.trim().is_empty() { "" } else { "+" }))
}
