//! Where what is printed cannot be written: it is told by its name, and pictures are drawn all the same.

use crate::support::{Folder, tiny};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// The command itself, its streams as a shell would set them.
fn calotype(folder: &Folder, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calotype"));
    command.args(args).current_dir(folder.path()).env_remove("RUST_LOG");
    command.env("CALOTYPE_CACHE_DIR", "").env("HF_HOME", folder.path().join("no-cache"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn draw(folder: &Folder, more: &[&str]) -> Command {
    let tiny = tiny();
    let args = ["generate", "a cat", "--backend", "cpu", "--steps", "1", "-W", "16", "-H", "16", "-m", &tiny];
    calotype(folder, &[&args[..], more].concat())
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// One error, which names standard output.
fn assert_told(output: &Output, why: &str) {
    let err = err(output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("not one error:\n{err}") };
    assert!(error.contains("standard output") && error.contains(why), "{error}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn where_stdout_is_full_pictures_are_drawn_and_told_on_stderr() {
    let folder = Folder::new();
    let args = ["--batch-count", "3", "-o", "a_%d.png"];
    let output = draw(&folder, &args).stdout(full()).output().unwrap();
    assert_told(&output, "No space left");
    assert_eq!(folder.names(), ["a_0.png", "a_1.png", "a_2.png"]);
    assert!(err(&output).contains("a_0.png  seed ") && err(&output).contains("a_2.png  seed "));
}

#[test]
fn where_nobody_reads_stdout_pictures_are_drawn_and_the_exit_code_tells() {
    let folder = Folder::new();
    let mut child = draw(&folder, &["--batch-count", "4", "-o", "a_%d.png", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_told(&output, "Broken pipe");
    assert_eq!(folder.names().len(), 4);
}

#[test]
fn a_picture_that_stdout_does_not_take_is_kept() {
    let folder = Folder::new();
    let mut command = draw(&folder, &["-o", "-"]);
    let output = command.stdout(full()).env("TMPDIR", folder.path()).output().unwrap();
    assert_told(&output, "No space left");
    let [kept] = &folder.names()[..] else { panic!("{:?}", folder.names()) };
    assert!(err(&output).contains(kept.as_str()), "{}", err(&output));
    assert_eq!(crate::support::decode(&folder.read(kept)).0, 16);
}

#[test]
fn every_command_names_stdout_where_it_is_full() {
    let folder = Folder::new();
    let tiny = tiny();
    for args in [
        &["inspect", &tiny][..],
        &["inspect", "--json"],
        &["plan", "--backend", "cpu", "-m", &tiny],
        &["plan", "--backend", "cpu", "-m", &tiny, "--json"],
        &["adapters", "--json"],
        &["generate", "--help"],
        &["--help"],
        &["--version"],
    ] {
        assert_told(&calotype(&folder, args).stdout(full()).output().unwrap(), "No space left");
    }
}

#[test]
fn where_stderr_is_full_all_is_done_as_ever() {
    let folder = Folder::new();
    let mut command = draw(&folder, &["-o", "a.png"]);
    let output = command.stderr(full()).env("RUST_LOG", "debug").output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.starts_with(b"a.png  seed "));
    let output = calotype(&folder, &["generate"]).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_count_without_end_draws_until_it_is_stopped() {
    let folder = Folder::new();
    let mut child = draw(&folder, &["--batch-count", "4294967295", "-o", "a_%d.png"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..3 {
        assert!(lines.next().unwrap().unwrap().starts_with(&format!("a_{n}.png  seed ")));
    }
    let held = std::fs::read_to_string(format!("/proc/{}/statm", child.id())).unwrap();
    let pages: u64 = held.split(' ').next().unwrap().parse().unwrap();
    assert!(pages * 4096 < 4 << 30, "{held}: a list as long as the count");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    lines.for_each(|line| drop(line.unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
