//! Ctrl-C.

use crate::support::{Folder, tiny};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A run that would take minutes, once it has told of its first steps.
fn under_way(folder: &Folder) -> (Child, BufReader<std::process::ChildStderr>) {
    // Not through cargo's runner: the signal must reach the command itself.
    let mut child = Command::new(env!("CARGO_BIN_EXE_calotype"))
        .args(["generate", "a cat", "--backend", "cpu", "-W", "256", "-H", "256", "--steps", "900"])
        .args(["--save-latents", "l.safetensors", "-m", &tiny()])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("/900 steps") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    (child, err)
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_stops_at_the_next_step_with_130_and_leaves_no_file() {
    let folder = Folder::new();
    let (mut child, mut err) = under_way(&folder);
    let pressed = Instant::now();
    interrupt(&child);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(pressed.elapsed() < Duration::from_secs(30), "{:?}", pressed.elapsed());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    assert!(rest.contains("stopping at the next step") && rest.contains("left no file"), "{rest}");
    assert!(!rest.contains("error") && !rest.contains("panicked"), "{rest}");
    assert_eq!(folder.names(), [""; 0]);
}
