//! Command lines that cannot be read: the error names what was written and shows what to write.

use crate::support::Folder;

fn told(cases: &[(&[&str], &[&str])]) {
    let folder = Folder::new();
    for (args, parts) in cases {
        folder.fails(2, args, parts);
    }
}

#[test]
fn words_that_begin_with_a_dash() {
    told(&[
        (&["generate", "a cat", "-n", "-blurry"], &["--negative-prompt=-blurry"]),
        (&["generate", "a cat", "-n", "-2girls"], &["--negative-prompt=-2girls"]),
        (&["generate", "a cat", "-n", "-a b"], &["--negative-prompt=\"-a b\""]),
        (&["generate", "a cat", "-n", "--steps", "5"], &["--negative-prompt TEXT"]),
        (&["generate", "a cat", "-n"], &["--negative-prompt TEXT"]),
        (&["generate", "-1girl"], &["-- \"-1girl\""]),
        (&["generate", "-blurry cat"], &["-- \"-blurry cat\""]),
        (&["generate", "-happy cat"], &["-- \"-happy cat\""]),
        (&["generate", "a cat", "-steps", "5"], &["-steps", "write --steps"]),
        (&["generate", "a cat", "-width", "64"], &["-width", "write --width"]),
        (&["generate", "a cat", "-output", "x.png"], &["-output", "write --output"]),
        (&["generate", "-batch_size=4", "a cat"], &["-batch_size", "write --batch-size"]),
        (&["generate", "a cat", "-height", "64"], &["-height", "write --height"]),
    ]);
    let after = "stands after --, where nothing is a flag: put flags before it";
    told(&[
        (&["generate", "--", "-x", "--backend", "cpu"], &["--backend ", after]),
        (&["generate", "--backend", "cpu", "--", "-x", "--backend=cpu"], &["--backend ", after]),
        (&["generate", "--", "-x", "-W512"], &["-W512 ", after]),
        (&["generate", "--", "-x", "-y"], &["-y ", after]),
        (&["plan", "--", "--steps", "5"], &["--steps ", after]),
        (&["generate", "--step", "5", "--", "--step"], &["did you mean --steps?"]),
    ]);
    let folder = Folder::new();
    folder.draw(&["-o", "dash.png", "--", "-1girl"]);
    folder.draw(&["a cat", "--negative-prompt=-blurry", "-o", "negative.png"]);
}

#[test]
fn numbers_below_zero_and_what_is_no_number() {
    told(&[
        (&["generate", "a cat", "--eta", "-0.1"], &["--eta -0.1", "between 0 and 1"]),
        (&["generate", "a cat", "--cfg-rescale", "-0.5"], &["--cfg-rescale -0.5", "between 0 and 1"]),
        (&["generate", "a cat", "--steps", "-5"], &["--steps", "-5"]),
        (&["generate", "a cat", "-W", "-8"], &["--width", "-8"]),
        (&["generate", "a cat", "-H", "-8"], &["--height", "-8"]),
        (&["generate", "a cat", "-b", "-1"], &["--batch-size", "-1"]),
        (&["generate", "a cat", "--batch-count", "-1"], &["--batch-count", "-1"]),
        (&["generate", "a cat", "--seed", "-7"], &["--seed -7", "-1 for a random"]),
        (&["plan", "-W", "-8"], &["--width", "-8"]),
        (&["bench", "builtin", "--repeats", "-1"], &["--repeats", "-1"]),
        (&["bench", "builtin", "--sweep", "--sizes", "-64"], &["--sizes", "-64"]),
        (&["bench", "builtin", "--sweep", "--most", "-1"], &["--most -1", "seconds"]),
        (&["generate", "a cat", "-W", "64.5"], &["--width 64.5", "whole number"]),
        (&["generate", "a cat", "--cfg-scale", "7,5"], &["--cfg-scale 7,5", "7.5"]),
        (&["generate", "a cat", "--steps="], &["--steps needs a value"]),
        (&["generate", "a cat", "--eta", "nan"], &["--eta nan", "finite"]),
        (&["generate", "a cat", "--cfg-scale", "inf"], &["--cfg-scale inf", "finite"]),
        (&["generate", "a cat", "--cfg-scale", "1e39"], &["--cfg-scale 1e39", "too large"]),
        (&["generate", "a cat", "--cfg-rescale", "1e39"], &["--cfg-rescale 1e39", "too large"]),
        (&["generate", "a cat", "--eta", "1e309"], &["--eta 1e309", "too large"]),
        (
            &["generate", "a cat", "--seed", "18446744073709551616"],
            &["--seed 18446744073709551616", "too large", "at most 18446744073709551615"],
        ),
        (&["generate", "a cat", "--batch-count", "0"], &["--batch-count 0", "whole number from 1"]),
        (&["generate", "a cat", "--batch-count", "4294967296"], &["too large", "at most 4294967295"]),
        (&["bench", "builtin", "--repeats", "0"], &["--repeats 0", "whole number from 1 to 1000"]),
        (&["bench", "builtin", "--repeats", "1001"], &["--repeats 1001", "from 1 to 1000"]),
        (&["generate", "a cat", "--cfg-rescale", "nan"], &["--cfg-rescale nan", "finite"]),
        (&["bench", "builtin", "--sweep", "--most", "nan"], &["--most nan", "seconds"]),
    ]);
}

#[test]
fn words_without_quotes() {
    told(&[
        (&["generate", "a", "red", "apple"], &["red", "calotype generate \"a red apple\""]),
        (&["generate", "-b", "2", "a", "cat"], &["quotes: calotype generate \"a cat\""]),
        (&["generate", "a cat", "-n", "bad", "hands"], &["hands", "-n \"bad hands\""]),
        (&["generate", "a cat", "-o", "my", "cat.png"], &["-o \"my cat.png\""]),
        (&["generate", "it's", "$5"], &["'it'\\''s $5'"]),
        (&["inspect", "my", "model"], &["calotype inspect \"my model\""]),
        (&["plan", "a cat"], &["a cat", "flags only"]),
    ]);
}

#[test]
fn a_command_that_was_forgotten_or_is_called_otherwise() {
    told(&[
        (&["a cat"], &["calotype generate \"a cat\"", "inspect"]),
        (&["genrate", "a cat"], &["genrate", "did you mean generate?"]),
        (&["txt2img", "a cat"], &["txt2img", "did you mean generate?"]),
        (&["-m", "model", "a cat"], &["-m", "a command comes first", "calotype generate"]),
        (&["generate"], &["a prompt is required", "--from-file"]),
        (&["plan", "--seed", "1"], &["--seed", "flag of calotype generate, not of calotype plan"]),
    ]);
}

#[test]
fn flags_of_other_programs() {
    for (theirs, ours) in [
        ("--prompt", "stands by itself"),
        ("-p", "stands by itself"),
        ("--n_iter", "--batch-count"),
        ("--n_samples", "--batch-size"),
        ("--ddim_steps", "--steps"),
        ("--ddim_eta", "--eta"),
        ("--num-inference-steps", "--steps"),
        ("--num_inference_steps", "--steps"),
        ("--scale", "--cfg-scale"),
        ("--guidance-scale", "--cfg-scale"),
        ("--cfg", "--cfg-scale"),
        ("--W", "-W"),
        ("--outdir", "--output"),
        ("--ckpt", "--model"),
        ("-s", "--seed or --steps"),
        ("--sampling-method", "--sampler"),
        ("--plms", "--sampler plms"),
        ("--cfg_scale", "write --cfg-scale"),
        ("--negative_prompt", "write --negative-prompt"),
        ("--samplr", "did you mean --sampler?"),
        ("--unheard-of", "--help"),
    ] {
        let name = theirs.split('=').next().unwrap();
        told(&[(&["generate", "a cat", theirs, "5"], &[name, ours])]);
        told(&[(&["generate", "a cat", &format!("{theirs}=5")], &[name, ours])]);
    }
    told(&[(&["plan", "--ddim_steps", "5"], &["calotype plan", "--steps"])]);
}

#[test]
fn names_that_are_nearly_right() {
    told(&[
        (&["generate", "a cat", "--sampler", "eulr"], &["\"eulr\"", "did you mean euler?"]),
        (&["generate", "a cat", "--sampler", "Eulr a"], &["did you mean euler_a?"]),
        (&["generate", "a cat", "--scheduler", "karas"], &["\"karas\"", "did you mean karras?"]),
        (&["generate", "a cat", "--dtype", "fp16"], &["--dtype fp16", "f16"]),
        (&["generate", "a cat", "--backend", "vulcan"], &["--backend vulcan", "did you mean vulkan?"]),
        (&["generate", "a cat", "--seed", "1", "--seed", "2"], &["--seed is given twice"]),
        (&["generate", "a cat", "--from-file", "x"], &["PROMPT and --from-file", "leave one"]),
    ]);
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_not_utf_8_is_shown() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let folder = Folder::new();
    for before in
        [&["generate"][..], &["generate", "a cat", "-m"], &["generate", "a cat", "--lora"], &["inspect"]]
    {
        let output = crate::support::calotype(folder.path()).args(before).arg(odd).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains("\"caf\\xE9\" is not UTF-8") && err.lines().count() == 1, "{err}");
    }
}
