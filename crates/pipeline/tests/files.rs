//! Files of pictures: whole or not there, under names that nobody else has, and never in the place of another unasked.

use calotype_pipeline::image::{Pattern, check, write, write_new, write_next};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn pattern(path: impl AsRef<Path>) -> Pattern {
    Pattern::parse(path).expect("a pattern")
}

fn refused<T: std::fmt::Debug>(result: calotype_pipeline::Result<T>, parts: &[&str]) {
    let message = result.expect_err("refused").to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

/// Sorted, so that nothing left behind is missed.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn files_are_whole_and_never_overwritten_unasked() {
    let folder = folder();
    let path = folder.path().join("out.png");
    write(&path, b"one", false).expect("written");
    refused(write(&path, b"two", false), &["out.png", "exists"]);
    assert!(!write_new(&path, b"two").expect("looked at"));
    assert_eq!(fs::read(&path).expect("a file"), b"one");
    write(&path, b"two", true).expect("overwritten");
    assert_eq!(fs::read(&path).expect("a file"), b"two");
    assert_eq!(names(&folder), ["out.png"], "a temporary file was left");
    refused(write(&folder.path().join("no/out.png"), b"x", false), &["folder"]);
}

#[test]
fn patterns_go_on_after_the_highest_number() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let numbered = pattern(at("out_%05d.png"));
    assert_eq!(numbered.name(numbered.first().expect("a number")), at("out_00000.png"));
    for name in ["out_00002.png", "out_00007.png", "out_x.png", "out_+9.png", "other_00009.png"] {
        fs::write(at(name), b"").expect("written");
    }
    assert_eq!(numbered.first().expect("a number"), 8);
    // Whoever was faster with 8 and 20 keeps them.
    for name in ["out_00008.png", "out_00020.png"] {
        fs::write(at(name), b"theirs").expect("written");
    }
    let (n, path) = write_next(&numbered, 8, b"mine").expect("written");
    assert_eq!((n, path), (21, at("out_00021.png")));
    assert_eq!(fs::read(at("out_00008.png")).expect("a file"), b"theirs");
    fs::write(at(&format!("out_{}.png", u64::MAX)), b"").expect("written");
    refused(numbered.first(), &["no higher number", "out_18446744073709551615.png"]);
}

#[test]
fn a_plain_name_serves_one_picture_and_numbers_more() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let plain = pattern(at("100%% out.png"));
    assert_eq!(plain.name(1), at("100% out.png"));
    let many = plain.clone().of(u64::MAX);
    assert_eq!(many.name(2), at("100% out_2.png"));
    assert_eq!((many.taken(), plain.taken()), (vec![], vec![]));
    for name in ["100% out.png", "100% out_02.png", "100% out_7.png", "100% out_0.png"] {
        fs::write(at(name), b"").expect("written");
    }
    assert_eq!(plain.taken(), [at("100% out.png")]);
    assert_eq!(many.taken(), [at("100% out_7.png")], "as many as there are, not as it has names");
    assert_eq!(plain.clone().of(6).taken(), [""; 0].map(PathBuf::from));
    assert_eq!(pattern("a.b/cat").of(2).name(1), Path::new("a.b/cat_1"));
}

#[test]
fn what_is_no_pattern_is_refused() {
    for wrong in ["%d_%d.png", "%x.png", "%05.png", "%+5d.png", "%21d.png", "100%.png"] {
        refused(Pattern::parse(wrong), &[wrong, "%05d", "%%"]);
    }
    for name in ["", ".", "..", "out/", "out/.", "out/..", "/"] {
        refused(Pattern::parse(name), &["folder"]);
    }
}

#[test]
fn a_grid_is_named_after_its_pictures() {
    for (of, grid) in [
        ("out_%05d.png", "out_grid_00001.png"),
        ("a/%d.png", "a/grid_1.png"),
        ("a.b/cat.png", "a.b/cat_grid.png"),
        ("100%%_%d.png", "100%_grid_1.png"),
        ("cat", "cat_grid"),
    ] {
        assert_eq!(pattern(of).grid().name(1), Path::new(grid), "{of}");
    }
}

#[test]
fn patterns_that_may_name_one_file_are_told_apart_from_those_that_cannot() {
    let folder = folder();
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    let of = |name: &str, count| pattern(folder.path().join(name)).of(count);
    for (a, b) in [
        (of("a.png", 1), of("a.png", 1)),
        (of("a.png", 1), of("./a.png", 1)),
        (of("a.png", 1), of("sub/../a.png", 1)),
        (of("a.png", 1), of("A.PNG", 1)),
        (of("a.png", 3), of("a_3.png", 1)),
        (of("a_%d.png", 1), of("a_12.png", 1)),
        (of("a_%d.png", 1), of("a.png", 2)),
        (of("a_1%d.png", 1), of("a.png", 99)),
    ] {
        assert!(a.meets(&b) && b.meets(&a), "{a:?} {b:?}");
    }
    for (a, b) in [
        (of("a.png", 1), of("b.png", 1)),
        (of("a.png", 1), of("sub/a.png", 1)),
        (of("a.png", 3), of("a_4.png", 1)),
        (of("a.png", 3), of("a_03.png", 1)),
        (of("a_%03d.png", 1), of("a_12.png", 1)),
        (of("a.png", 9), of("a.png", 1).grid()),
        (of("a_%d.png", 1), of("a_%d.png", 1)),
        (of("a_%d.png", 1), of("a_%d.png", 1).grid()),
    ] {
        assert!(!a.meets(&b) && !b.meets(&a), "{a:?} {b:?}");
    }
}

#[test]
fn a_name_that_no_file_can_have_is_told_without_writing_one() {
    let folder = folder();
    let long = folder.path().join(format!("{}.png", "n".repeat(252)));
    refused(check(&long, false), &["nnn.png"]);
    assert!(check(&folder.path().join(format!("{}.png", "n".repeat(251))), false).is_ok());
    refused(check(&folder.path().join("no/a.png"), false), &["no", "does not exist", "make it first"]);
    fs::write(folder.path().join("file"), b"").expect("written");
    refused(check(&folder.path().join("file/a.png"), false), &["file"]);
    refused(check(&folder.path().join("file"), false), &["exists", "(overwrite)"]);
    assert_eq!(names(&folder), ["file"]);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use calotype_pipeline::image::Target;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    use std::{ffi::OsString, io::Read, process::Command};

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).expect("a folder");
        fs::write(at("sub/target.png"), b"old").expect("written");
        symlink("sub/target.png", at("link.png")).expect("a link");
        symlink("link.png", at("again.png")).expect("a link");
        refused(write(&at("again.png"), b"new", false), &["again.png", "exists"]);
        write(&at("again.png"), b"new", true).expect("written");
        assert_eq!(fs::read(at("sub/target.png")).expect("a file"), b"new");
        assert!(at("again.png").is_symlink() && at("link.png").is_symlink());

        symlink("sub/later.png", at("dangling.png")).expect("a link");
        refused(write(&at("dangling.png"), b"new", false), &["exists"]);
        write(&at("dangling.png"), b"new", true).expect("written");
        assert_eq!(fs::read(at("sub/later.png")).expect("a file"), b"new");

        symlink("round.png", at("round.png")).expect("a link");
        refused(write(&at("round.png"), b"new", true), &["round.png", "link"]);
        symlink("none/x.png", at("astray.png")).expect("a link");
        refused(check(&at("astray.png"), true), &["none", "does not exist"]);
        symlink("sub", at("folder.png")).expect("a link");
        refused(write(&at("folder.png"), b"new", true), &["folder"]);
    }

    #[test]
    fn a_fifo_is_written_into_and_a_socket_is_left_alone() {
        let folder = folder();
        let fifo = folder.path().join("pipe.png");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        refused(check(&fifo, false), &["a FIFO", "overwrite writes into it"]);
        assert!(matches!(check(&fifo, true).expect("allowed"), Target::Stream(_, "a FIFO")));
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || {
                let mut read = Vec::new();
                fs::File::open(fifo).and_then(|mut f| f.read_to_end(&mut read)).map(|_| read)
            }
        });
        write(&fifo, b"a picture", true).expect("written");
        assert_eq!(reader.join().expect("a thread").expect("read"), b"a picture");
        assert!(fifo.metadata().expect("there").file_type().is_fifo());

        let socket = folder.path().join("socket.png");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        refused(write(&socket, b"x", true), &["socket.png", "no place for a file"]);
        write(Path::new("/dev/null"), b"x", true).expect("written");
        assert!(Path::new("/dev/null").metadata().expect("there").file_type().is_char_device());
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_a_protected_one_its_bytes() {
        let folder = folder();
        let path = folder.path().join("mine.png");
        fs::write(&path, b"old").expect("written");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        mode(0o640);
        write(&path, b"new", true).expect("written");
        assert_eq!(path.metadata().expect("there").mode() & 0o7777, 0o640);
        mode(0o444);
        refused(check(&path, true), &["mine.png", "write-protected"]);
        refused(write(&path, b"newer", true), &["mine.png", "write-protected"]);
        assert_eq!(fs::read(&path).expect("a file"), b"new");
        // A new file is as others that are made here.
        let fresh = folder.path().join("fresh.png");
        write(&fresh, b"x", false).expect("written");
        fs::write(folder.path().join("plain"), b"x").expect("written");
        let modes = [fresh, folder.path().join("plain")].map(|p| p.metadata().expect("there").mode());
        assert_eq!(modes[0], modes[1]);
    }

    #[test]
    fn names_that_are_not_utf_8_stay_as_they_are() {
        let folder = folder();
        let name = |bytes: &[u8]| folder.path().join(OsString::from_vec(bytes.to_vec()));
        let numbered = pattern(name(b"caf\xe9_%03d.png"));
        let (_, path) = write_next(&numbered, numbered.first().expect("a number"), b"x").expect("written");
        assert_eq!(path, name(b"caf\xe9_000.png"));
        assert_eq!(numbered.first().expect("a number"), 1);
        assert_eq!(pattern(name(b"\xff.png")).of(2).name(2), name(b"\xff_2.png"));
    }
}

#[cfg(windows)]
mod windows {
    use super::*;
    use std::os::windows::fs::OpenOptionsExt;

    #[test]
    fn names_that_windows_takes_for_others_are_refused_before_and_after() {
        let folder = folder();
        for name in ["con.png", "nul", "aux.txt", "cat.png.", "cat.png ", "a:b.png", "a?.png"] {
            // As typed: a path's own parts would lose what stands at the end.
            let path = PathBuf::from(format!("{}\\{name}", folder.path().display()));
            refused(check(&path, false), &[name, "no file can have this name here"]);
            refused(check(&path, true), &[name, "no file can have this name here"]);
            refused(write(&path, b"x", true), &[name, "no file can have this name here"]);
            refused(write_new(&path, b"x"), &[name, "no file can have this name here"]);
        }
        assert_eq!(names(&folder), [""; 0]);
    }

    #[test]
    fn a_file_that_another_program_holds_open_is_told_and_stays() {
        const SHARE_READ: u32 = 1;
        const SHARE_READ_WRITE: u32 = 3;
        let folder = folder();
        let path = folder.path().join("cat.png");
        for share in [SHARE_READ, SHARE_READ_WRITE] {
            fs::write(&path, b"old").expect("written");
            let held = fs::OpenOptions::new().read(true).share_mode(share).open(&path).expect("opened");
            refused(check(&path, true), &["cat.png", "another program has the file open"]);
            refused(write(&path, b"new", true), &["cat.png", "another program has the file open"]);
            drop(held);
            assert_eq!(fs::read(&path).expect("a file"), b"old");
            write(&path, b"new", true).expect("written");
            assert_eq!(names(&folder), ["cat.png"]);
        }
    }

    #[test]
    fn a_file_that_is_held_for_a_moment_is_waited_for() {
        let folder = folder();
        let path = folder.path().join("cat.png");
        fs::write(&path, b"old").expect("written");
        let held = fs::OpenOptions::new().read(true).share_mode(3).open(&path).expect("opened");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(100));
                drop(held);
            });
            write(&path, b"new", true).expect("written");
        });
        assert_eq!(fs::read(&path).expect("a file"), b"new");
    }

    #[test]
    fn paths_of_any_length_and_spelling_are_written_to() {
        let folder = folder();
        let deep = (0..6).fold(folder.path().to_path_buf(), |path, _| path.join("d".repeat(60)));
        fs::create_dir_all(&deep).expect("folders");
        let path = deep.join("out_%d.png");
        assert!(path.as_os_str().len() > 260);
        let verbatim = PathBuf::from(format!(r"\\?\{}", path.display()));
        for (n, spelt) in [path, verbatim].iter().enumerate() {
            let numbered = pattern(spelt);
            check(&numbered.name(n as u64), false).expect("allowed");
            let (taken, at) =
                write_next(&numbered, numbered.first().expect("a number"), b"x").expect("written");
            assert_eq!(taken, n as u64);
            write(&at, b"again", true).expect("replaced");
            assert_eq!(fs::read(&at).expect("a file"), b"again");
        }
        let back = PathBuf::from(format!("{}\\back.png", folder.path().display()));
        assert!(write_new(&back, b"x").expect("written"));
        assert_eq!(pattern(r"sub\a_%d.png").name(1), Path::new("sub").join("a_1.png"));
        assert_eq!(pattern(r"\\server\share\a_%d.png").name(1), Path::new(r"\\server\share\a_1.png"));
        assert_eq!(pattern(r"C:a_%d.png").name(1), Path::new("C:a_1.png"));
        for name in [r"out\", r"out\.", r"C:\", r"\\server\share\"] {
            refused(Pattern::parse(name), &["folder"]);
        }
    }
}
