//! Flags and files that cannot be honoured: each mistake is named in one line, and nothing is left behind.

use crate::support::{Folder, calotype, tiny};

#[test]
fn bad_values_end_with_2_before_anything_is_loaded() {
    let folder = Folder::new();
    let refused: [(&[&str], &[&str]); 26] = [
        (&["-W", "500"], &["--width 500", "multiple of 8", "496 or 504"]),
        (&["-H", "4"], &["--height 4", "use 8"]),
        (&["-W", "0"], &["--width 0"]),
        (&["-W", "wide"], &["wide", "--width"]),
        (&["--steps", "0"], &["--steps 0", "1 or more"]),
        (&["--steps", "2000"], &["2000 steps", "1 to 1000"]),
        (&["-b", "0"], &["--batch-size 0"]),
        (&["--batch-count", "0"], &["--batch-count"]),
        (&["--batch-seeds", "some"], &["--batch-seeds"]),
        (&["--cfg-scale", "nan"], &["--cfg-scale"]),
        (&["--cfg-rescale", "2"], &["--cfg-rescale 2", "0 and 1"]),
        (&["--cfg-start", "2"], &["--cfg-start 2", "0 and 1"]),
        (&["--cfg-start", "0.6", "--cfg-end", "0.5"], &["--cfg-start 0.6", "--cfg-end 0.5"]),
        (&["--guidance", "sag"], &["\"sag\"", "cfg, apg, perp-neg, cfg-zero"]),
        (&["--guidance", "apg:size=2"], &["size=2", "eta=X, norm=X, momentum=X"]),
        (&["--guidance", "apg", "--cfg-rescale", "0.5"], &["--cfg-rescale", "--guidance cfg"]),
        (&["--s-min-uncond", "-1"], &["--s-min-uncond"]),
        (&["--eta", "7"], &["--eta 7"]),
        (&["--seed", "soon"], &["soon", "--seed", "-1 for a random"]),
        (&["--sampler", "dream"], &["\"dream\"", "euler_a"]),
        (&["--scheduler", "tidy"], &["\"tidy\"", "karras"]),
        (&["--sampler", "ddim", "--scheduler", "karras"], &["ddim", "karras"]),
        (&["--dtype", "f8"], &["f8", "--dtype"]),
        (&["--quant", "q5_k"], &["q5_k", "--quant", "q8_0", "q4_0", "none"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["--backend", "cpu", "--adapter", "0"], &["--adapter", "--backend cpu"]),
    ];
    for (flags, parts) in refused {
        let backend: &[&str] = if flags.contains(&"--backend") { &[] } else { &["--backend", "cpu"] };
        folder.fails(2, &[&["generate", "a cat"], backend, flags].concat(), parts);
    }
    folder.fails(2, &["plan", "-W", "500"], &["--width 500"]);
    folder.fails(2, &["generate"], &["required"]);
    folder.fails(2, &["generate", "a cat", "--from-file", "x.txt"], &["--from-file"]);
    folder.fails(2, &["draw"], &["draw"]);
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_work() {
    let folder = Folder::new();
    folder.write("taken.png", "mine");
    folder.write("taken.safetensors", "mine");
    folder.write("file", "not a folder");
    let draw = |more: &[&'static str]| {
        [&["generate", "a cat", "--backend", "cpu", "-m", "no/such/model"], more].concat()
    };
    // The model does not exist: that the output is what the error speaks of shows that it was looked at first.
    folder.fails(1, &draw(&["-o", "none/cat.png"]), &["--output", "the folder none does not exist"]);
    folder.fails(1, &draw(&["-o", "file/cat.png"]), &["--output", "file"]);
    folder.fails(1, &draw(&["-o", "taken.png"]), &["taken.png", "exists", "--overwrite"]);
    folder.fails(
        1,
        &draw(&["--save-latents", "taken.safetensors"]),
        &["--save-latents", "taken.safetensors"],
    );
    folder.fails(1, &draw(&["--save-latents", "none/l.safetensors"]), &["--save-latents", "none"]);
    folder.fails(2, &draw(&["-o", "."]), &["--output", "folder", "out_%05d.png"]);
    folder.fails(2, &draw(&["-o", "cat.gif"]), &["cat.gif", "PNG, JPEG or WebP", ".png"]);
    folder.fails(2, &draw(&["-o", "cat.png", "--format", "webp"]), &["--output cat.png", "--format"]);
    folder.fails(2, &draw(&["-o", "cat.webp", "--quality", "80"]), &["--quality", "JPEG"]);
    folder.fails(2, &draw(&["-o", "cat.jpg", "--quality", "0"]), &["--quality", "from 1 to 100"]);
    folder.fails(2, &draw(&["-o", "%s.png"]), &["%s.png", "%05d"]);
    if cfg!(target_os = "linux") {
        let refused = calotype(folder.path()).args(draw(&["-o", "/proc/cat.png"])).output().unwrap();
        let err = String::from_utf8(refused.stderr).unwrap();
        assert!(
            err.contains("the folder /proc cannot be written to") && !err.contains(".calotype."),
            "{err}"
        );
    }
}

#[test]
fn a_file_of_prompts_must_hold_some() {
    let folder = Folder::new();
    folder.write("empty.txt", "");
    folder.write("blank.txt", " \n\r\n\t\n");
    folder.write("binary.txt", [0xff, 0xfe, 0x00]);
    let from = |file: &'static str| ["generate", "--backend", "cpu", "--from-file", file];
    folder.fails(1, &from("empty.txt"), &["empty.txt", "no prompt", "one a line"]);
    folder.fails(1, &from("blank.txt"), &["blank.txt", "no prompt"]);
    folder.fails(1, &from("binary.txt"), &["binary.txt", "text file"]);
    folder.fails(1, &from("absent.txt"), &["absent.txt", "os error 2"]);
    // Standard input, where nobody writes.
    folder.fails(1, &from("-"), &["--from-file -", "no prompt"]);
}

#[test]
fn prompts_come_from_standard_input_too() {
    let folder = Folder::new();
    let mut command = calotype(folder.path());
    command.args([
        "generate",
        "--backend",
        "cpu",
        "--steps",
        "1",
        "-m",
        &tiny(),
        "--from-file",
        "-",
        "--json",
    ]);
    let output = command.write_stdin("a cat\n\na dog\n").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.lines().count() == 2, "{said}");
    assert!(said.contains("\"a dog\""), "{said}");
}

#[test]
fn an_adapter_that_does_not_exist_is_an_error_that_lists_those_there_are() {
    let folder = Folder::new();
    let args = ["generate", "a cat", "--adapter", "no such GPU"];
    folder.fails(2, &args, &["--adapter no such GPU", "there are: ", "calotype adapters"]);
    folder.fails(2, &["plan", "--adapter", "99"], &["--adapter 99", "there are: "]);
    if !cfg!(target_os = "windows") {
        let args = ["generate", "a cat", "--backend", "dx12"];
        folder.fails(1, &args, &["no GPU adapter found for dx12", "--backend cpu"]);
    }
}

#[test]
fn a_limit_that_cannot_be_kept_is_refused_with_the_least_that_can() {
    let folder = Folder::new();
    for size in ["6", "six", "0G", "-1G", "6 apples"] {
        let limit = format!("--max-vram={size}");
        folder.fails(2, &["generate", "a cat", &limit], &["--max-vram", "1.5GiB"]);
    }
    folder.fails(2, &["generate", "a cat", "--medvram"], &["--max-vram"]);
    let run = ["--backend", "cpu", "-W", "64", "-H", "64", "--max-vram"];
    let least = |command: &[&'static str]| [command, &run, &["1M"]].concat();
    let told = ["not enough memory", "at least", "MiB", "--max-vram is 1.0 MiB", "or allow more"];
    folder.fails(1, &least(&["generate", "a cat"]), &told);
    let said = folder.run(&least(&["plan"]));
    assert!(said.out.contains("does not fit") && said.out.contains("at least"), "{}", said.out);
    let said = folder.run(&[&["plan"], &run[..], &["4G", "--json"]].concat());
    let plan: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!((&plan["limit_bytes"], &plan["fits"]), (&(4u64 << 30).into(), &true.into()));
    assert_eq!(plan["strategy"]["leaving"], "nothing");
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_fit_is_refused_before_it_starts() {
    let folder = Folder::new();
    let args = ["generate", "a cat", "--backend", "cpu", "-W", "65536", "-H", "65536"];
    folder.fails(
        1,
        &args,
        &["not enough memory", "GiB", "free memory", "--width", "at most", "calotype plan"],
    );
}
