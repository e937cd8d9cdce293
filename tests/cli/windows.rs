//! Windows as its users meet it: drives, devices, other programs' files, the console. Under Wine these run too; what that
//! leaves open is in docs/platforms.md.

use crate::hub_server::{COMMIT, Server};
use crate::support::{Folder, decode, goldens, json_lines, tiny};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use windows_sys::Win32::System::Console::{AllocConsole, CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};

/// The model does not exist: that the output is what the error speaks of shows that it was looked at first.
const EARLY: [&str; 6] = ["generate", "a cat", "--backend", "cpu", "-m", "no/such/model"];

#[test]
fn devices_and_names_that_lose_their_end_are_refused_before_the_work() {
    let folder = Folder::new();
    for name in ["con.png", "NUL", "aux", "com1.png", r"sub\..\nul.png", "ab:c.png", "a?.png"] {
        folder.fails(
            1,
            &[&EARLY[..], &["-o", name]].concat(),
            &["--output", "no file can have this name here"],
        );
    }
    let latents = ["-o", "a.png", "--save-latents", "aux.safetensors"];
    folder.fails(1, &[&EARLY[..], &latents].concat(), &["--save-latents aux.safetensors", "a device"]);
    for name in ["cat.png.", "cat.png ", "cat ."] {
        folder.fails(
            2,
            &[&EARLY[..], &["-o", name]].concat(),
            &["--output", "end the name in .png, .jpg or .webp"],
        );
    }
    let latents = ["-o", "a.png", "--save-latents", "a.safetensors."];
    folder.fails(1, &[&EARLY[..], &latents].concat(), &["--save-latents", "ends in a dot or a blank"]);
}

#[test]
fn a_drives_colon_separates_nothing_and_paths_may_be_spelt_in_any_way() {
    let folder = Folder::new();
    let from = goldens().join("sd1-tiny/loras/peft.safetensors");
    let file = folder.path().join("ink.safetensors");
    fs::copy(from, &file).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(&file[1..3], r":\");
    let verbatim = format!(r"\\?\{file}");
    let slashes = file.replace('\\', "/");
    let scaled = folder.drawn(&["--lora", "ink.safetensors:0.8"]);
    for spelt in [file, &verbatim, &slashes] {
        assert_eq!(folder.drawn(&["--lora", &format!("{spelt}:0.8")]), scaled, "{spelt}");
        assert_ne!(folder.drawn(&["--lora", spelt]), scaled, "{spelt}");
    }
    folder.fails(1, &[&EARLY[..], &["--lora", r"Q:\none\ink"]].concat(), &["--lora", r"Q:\none\ink"]);

    let deep = (0..6).fold(folder.path().to_path_buf(), |path, _| path.join("d".repeat(60)));
    fs::create_dir_all(&deep).unwrap();
    let long = deep.join("cat.png");
    let model = format!(r"\\?\{}", tiny().replace('/', r"\"));
    for output in [long.to_str().unwrap(), &format!(r"\\?\{}", long.display())] {
        folder.draw(&["a cat", "--overwrite", "-o", output, "-m", &model]);
        assert_eq!(decode(&fs::read(&long).unwrap()).0, 64);
    }
}

#[test]
fn what_is_printed_is_utf_8_whatever_the_code_page() {
    let folder = Folder::new();
    let said = folder.draw(&["a café", "-o", "猫é.png", "--json"]);
    assert_eq!(json_lines(&said)[0]["prompt"], "a café");
    assert_eq!(json_lines(&said)[0]["files"][0], "猫é.png");
    assert_eq!(folder.names(), ["猫é.png"]);
}

#[test]
fn the_hubs_cache_takes_no_links_and_lies_where_variables_say() {
    let (server, folder) = (Server::new(), Folder::new());
    let home = folder.path().to_str().unwrap().to_string();
    let folder = folder
        .with("HF_ENDPOINT", server.endpoint())
        .with("USERPROFILE", home)
        .with("HF_HOME", r"%USERPROFILE%\.cache/hf")
        .with("HF_HUB_DISABLE_SYMLINKS", "1");
    folder.run(&["inspect", "owner/tiny", "--json"]);
    let cache = folder.path().join(r".cache\hf\hub\models--owner--tiny");
    let unet = Path::new("unet/diffusion_pytorch_model.safetensors");
    let file = cache.join("snapshots").join(COMMIT).join(unet);
    assert!(file.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(file).unwrap(), fs::read(Path::new(&tiny()).join(unet)).unwrap());
    assert!(fs::read_dir(cache.join("blobs")).unwrap().next().is_none(), "the bytes are kept twice");
    // huggingface_hub's `~` is the profile, too.
    let asked = server.asked().len();
    assert!(asked > 0);
    let folder = folder.with("HF_HOME", r"~\.cache\hf");
    folder.run(&["inspect", "owner/tiny", "--offline"]);
    assert!(server.asked().is_empty());
}

#[test]
#[ignore = "takes a console, which a test under Wine has not: cargo test -- --ignored, on Windows"]
fn ctrl_break_stops_at_the_next_step_with_130_and_leaves_no_file() {
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    let folder = Folder::new();
    // SAFETY: fails where there is a console already, which will do.
    unsafe { AllocConsole() };
    let mut child = Command::new(std::path::absolute(env!("CARGO_BIN_EXE_calotype")).unwrap())
        .args(["generate", "a cat", "--backend", "cpu", "-W", "256", "-H", "256", "--steps", "900"])
        .args(["-m", &tiny()])
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .creation_flags(CREATE_NEW_PROCESS_GROUP)
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
    // SAFETY: a number of a process group, which is the child's.
    assert_ne!(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child.id()) }, 0, "not sent");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    assert!(rest.contains("stopping at the next step") && rest.contains("left no file"), "{rest}");
    assert_eq!(folder.names(), [""; 0]);
}
