//! Where pictures go: nothing is lost, nothing is replaced unasked, and what cannot be written is told before the work.

use crate::support::{Folder, calotype, decode, settings, tiny};
use std::collections::BTreeSet;

/// The model does not exist: that the output is what the error speaks of shows that it was looked at first.
const EARLY: [&str; 5] = ["generate", "a cat", "--backend", "cpu", "-m"];

fn early<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&EARLY[..], &["no/such/model"], more].concat()
}

#[test]
fn runs_side_by_side_have_each_their_own_numbers() {
    let folder = Folder::new();
    for overwrite in [&[][..], &["--overwrite"]] {
        let run = || {
            let args = ["--batch-count", "8", "--steps", "1", "-W", "16", "-H", "16", "-o", "r_%03d.png"];
            folder.draw(&[&["a cat"], &args[..], overwrite].concat()).out
        };
        let said: Vec<String> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let names: Vec<&str> =
            said.iter().flat_map(|s| s.lines()).map(|l| l.split("  ").next().unwrap()).collect();
        assert_eq!(names.len(), 32);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 32, "a number was given twice: {names:?}");
        names.iter().for_each(|name| assert_eq!(decode(&folder.read(name)).0, 16));
    }
    assert_eq!(folder.names().len(), 64, "{:?}", folder.names());
}

#[test]
fn pictures_are_of_the_format_that_is_asked_for_and_carry_their_settings_in_each() {
    let folder = Folder::new();
    let seed = ["a cat", "--seed", "4", "-W", "32", "-H", "32"];
    let draw = |more: &[&str]| folder.draw(&[&seed[..], more].concat());
    draw(&["-o", "a.png"]);
    draw(&["-o", "a.webp", "--grid"]);
    draw(&["--format", "jpeg"]);
    draw(&["-o", "bare", "--format", "webp"]);
    draw(&["-o", "small.JPEG", "--quality", "10"]);
    assert_eq!(folder.names(), ["a.png", "a.webp", "a_grid.webp", "bare", "out_00000.jpg", "small.JPEG"]);
    let of = |name: &str| settings(&folder.read(name)).unwrap().to_string();
    let read = |name: &str| calotype::Picture::read(name, &folder.read(name)).unwrap().pixels;
    for name in folder.names() {
        assert_eq!(of(&name), of("a.png"), "{name}");
    }
    for name in ["a.webp", "a_grid.webp", "bare"] {
        assert_eq!(read(name), read("a.png"), "{name}");
        assert!(folder.read(name).starts_with(b"RIFF"), "{name}");
    }
    assert!(folder.read("small.JPEG").len() < folder.read("out_00000.jpg").len());
    // Drawn again from any of them it is the same picture.
    folder.draw(&["--from-png", "small.JPEG", "-o", "again.png"]);
    assert_eq!(folder.read("again.png"), folder.read("a.png"));
}

#[test]
fn outputs_that_would_meet_are_refused() {
    let folder = Folder::new();
    folder.write("noise.safetensors", "mine");
    folder.write("prompts.png", "a cat");
    let same = ["same file", "--output", "--save-latents"];
    folder.fails(2, &early(&["-o", "a.png", "--save-latents", "a.png"]), &same);
    folder.fails(2, &early(&["-o", "a.png", "--save-latents", "./a.png"]), &same);
    folder.fails(2, &early(&["-o", "a.png", "--save-latents", "A.PNG"]), &same);
    folder.fails(2, &early(&["-o", "a_%d.png", "--save-latents", "a_7.png"]), &same);
    folder.fails(2, &early(&["-o", "a.png", "-b", "3", "--save-latents", "a_2.png"]), &same);
    let grid = ["same file", "--grid", "--save-latents"];
    folder.fails(2, &early(&["-o", "a.png", "--grid", "--save-latents", "a_grid.png"]), &grid);
    folder.fails(
        2,
        &["generate", "--from-file", "prompts.png", "-o", "prompts.png", "--overwrite"],
        &["--output", "prompts.png", "--from-file reads"],
    );
    let own = ["bench", "builtin", "--json", "b.json", "--trace", "./b.json"];
    folder.fails(2, &own, &["--json and --trace", "same file"]);
}

#[test]
fn names_that_no_file_can_have_are_told_before_the_work() {
    let folder = Folder::new();
    let long = format!("{}.png", "n".repeat(252));
    folder.fails(1, &early(&["-o", &long]), &["--output", "nnn.png", "no file can have this name"]);
    // One picture has room, ten have not.
    let nearly = format!("{}.png", "n".repeat(249));
    folder.fails(1, &early(&["-o", &nearly, "-b", "10"]), &["--output", "n_10.png"]);
    folder.fails(1, &early(&["-o", &nearly, "--grid"]), &["--grid", "n_grid.png"]);
    folder.fails(2, &early(&["-o", ""]), &["--output needs a value"]);
    for name in [".", "..", "sub/", "sub/."] {
        let what =
            if name.starts_with('.') { "this is a folder" } else { "names a folder, and none is there" };
        folder.fails(2, &early(&["-o", name]), &["--output", what, "out_%05d.png"]);
    }
    folder.write(&format!("full_{}.png", u64::MAX), "mine");
    folder.fails(1, &early(&["-o", "full_%d.png"]), &["--output", "no higher number"]);
}

#[cfg(unix)]
#[test]
fn a_picture_beyond_the_limit_on_files_is_told_and_leaves_nothing() {
    let folder = Folder::new();
    let own = calotype(folder.path());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 1 && exec \"$@\"", "sh"]).arg(own.get_program()).args(own.get_args());
    command.args(["generate", "a cat", "--backend", "cpu", "--steps", "1", "-o", "big.png", "-m", &tiny()]);
    command.current_dir(folder.path()).env("TMPDIR", folder.path()).env("CALOTYPE_CACHE_DIR", "");
    let output = command.env_remove("RUST_LOG").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {said}", output.status);
    assert!(said.contains("error: big.png: cannot be written: File too large"), "{said}");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_grid_of_more_than_memory_holds_is_told_before_the_work() {
    let folder = Folder::new();
    let args = ["generate", "a cat", "--backend", "cpu", "--grid", "--batch-count", "4294967295"];
    if cfg!(target_os = "linux") {
        folder.fails(1, &args, &["--grid keeps all 4294967295 pictures", "free memory"]);
    }
}

#[test]
fn standard_output_takes_one_picture_and_nothing_else() {
    let folder = Folder::new();
    let args =
        ["generate", "a cat", "--backend", "cpu", "--steps", "1", "--seed", "3", "-m", &tiny(), "-o", "-"];
    let output = calotype(folder.path()).args(args).output().unwrap();
    assert!(output.status.success());
    assert_eq!(decode(&output.stdout).0, 64);
    assert!(String::from_utf8(output.stderr).unwrap().contains("seed 3"));
    assert_eq!(folder.names(), [""; 0]);
    folder.fails(2, &early(&["-o", "-", "--json"]), &["--output -", "--json"]);
    folder.fails(2, &early(&["-o", "-", "-b", "2"]), &["--output -", "one picture", "out_%05d.png"]);
    folder.fails(2, &early(&["-o", "-", "--batch-count", "2"]), &["--output -", "one picture"]);
    folder.fails(2, &early(&["-o", "-", "--grid"]), &["--grid", "one picture"]);
    folder.fails(2, &early(&["--save-latents", "-"]), &["--save-latents -", "./-"]);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    #[test]
    fn overwrite_replaces_files_and_nothing_else() {
        let folder = Folder::new();
        let at = |name: &str| folder.path().join(name);
        folder.write("target.png", "old");
        symlink("target.png", at("link.png")).unwrap();
        folder.draw(&["a cat", "-o", "link.png", "--overwrite"]);
        assert!(at("link.png").is_symlink());
        decode(&folder.read("target.png"));

        assert!(Command::new("mkfifo").arg(at("pipe.png")).status().unwrap().success());
        folder.fails(1, &early(&["-o", "pipe.png"]), &["pipe.png", "a FIFO", "--overwrite writes into it"]);
        let (read, said) = std::thread::scope(|scope| {
            let read = scope.spawn(|| fs::read(at("pipe.png")).unwrap());
            let said = folder.draw(&["a cat", "-o", "pipe.png", "--overwrite"]);
            (read.join().unwrap(), said)
        });
        decode(&read);
        assert!(said.err.contains("this is a FIFO, which is written into"), "{}", said.err);
        assert!(at("pipe.png").metadata().unwrap().file_type().is_fifo());

        let _listener = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        folder.fails(
            1,
            &early(&["-o", "socket.png", "--overwrite"]),
            &["--output", "socket.png", "no place"],
        );
        fs::create_dir(at("sub.png")).unwrap();
        folder.fails(2, &early(&["-o", "sub.png", "--overwrite"]), &["sub.png", "folder"]);
        let mut protected = at("target.png").metadata().unwrap().permissions();
        protected.set_readonly(true);
        fs::set_permissions(at("target.png"), protected).unwrap();
        folder.fails(1, &early(&["-o", "link.png", "--overwrite"]), &["target.png", "write-protected"]);
    }

    #[test]
    fn names_that_are_not_utf_8_stay_as_they_are() {
        let folder = Folder::new();
        let odd = std::ffi::OsStr::from_bytes(b"caf\xe9_%d.png");
        let run = |more: &[&str]| {
            let args = ["generate", "a cat", "--backend", "cpu", "--steps", "1", "-m", &tiny()];
            calotype(folder.path()).args(args).args(more).arg("-o").arg(odd).output().unwrap()
        };
        let output = run(&[]);
        assert!(output.stdout.starts_with(b"caf\xe9_0.png  seed "), "{:?}", output.stdout);
        decode(&fs::read(folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9_0.png"))).unwrap());
        let output = run(&["--json"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("--json cannot hold a name"));
    }
}
