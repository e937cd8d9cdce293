//! What each flag of `calotype generate` does to one picture.

use crate::support::{Folder, calotype, decode, settings};
use predicates::prelude::*;

#[test]
fn a_prompt_becomes_a_png_that_knows_its_settings() {
    let folder = Folder::new();
    let said = folder.draw(&[
        "a cat, sleeping",
        "-n",
        "blurry",
        "-W",
        "72",
        "-H",
        "40",
        "--seed",
        "42",
        "-o",
        "cat.png",
    ]);
    assert_eq!(said.out, "cat.png  seed 42\n");
    let png = folder.read("cat.png");
    let (width, height, pixels) = decode(&png);
    assert_eq!((width, height), (72, 40));
    assert!(pixels.iter().any(|p| *p != pixels[0]));
    let settings = settings(&png).unwrap();
    assert_eq!((settings.prompt.as_str(), settings.negative_prompt.as_str()), ("a cat, sleeping", "blurry"));
    assert_eq!((settings.seed(), settings.size()), (Some(42), Some((72, 40))));
    for (name, value) in [("Steps", "2"), ("Sampler", "PLMS"), ("CFG scale", "7.5"), ("Model", "model")] {
        assert_eq!(settings.get(name), Some(value), "{name}");
    }
}

#[test]
fn without_a_model_the_built_in_one_draws_as_its_folder_does() {
    let folder = Folder::new();
    let model = crate::support::goldens().join("../../models/emoji");
    let draw = |more: &[&str], file: &str| {
        let args =
            ["generate", "a red apple", "--backend", "cpu", "--seed", "1", "-o", file, "--no-metadata"];
        folder.run(&[&args, more].concat());
        folder.read(file)
    };
    let own = draw(&[], "own.png");
    let (width, height, pixels) = decode(&own);
    assert_eq!((width, height), (128, 128));
    assert!(own == draw(&["-m", model.to_str().unwrap()], "folder.png"), "embedded, it is another");
    // An apple on a plain background, and red: it means something.
    let red = pixels.chunks(3).filter(|p| p[0] > 120 && p[1] < 90 && p[2] < 90).count();
    assert!(red * 20 > width * height, "only {red} pixels are red");
    assert!(own != draw(&["-n", "red"], "negative.png") && own != draw(&["--cfg-scale", "5"], "cfg.png"));
}

#[test]
fn a_seed_gives_the_same_bytes_again_and_a_random_one_is_told() {
    let folder = Folder::new();
    assert_eq!(folder.drawn(&[]), folder.drawn(&[]));
    assert_ne!(folder.drawn(&[]), folder.drawn(&["--seed", "2"]));
    let said = folder.draw(&["a cat", "-o", "random.png"]);
    let seed = said.out.trim().rsplit(' ').next().unwrap().to_string();
    assert_eq!(settings(&folder.read("random.png")).unwrap().seed(), seed.parse().ok());
    folder.draw(&["a cat", "-o", "again.png", "--seed", &seed]);
    assert_eq!(folder.read("random.png"), folder.read("again.png"));
    let other = folder.draw(&["a cat", "-o", "other.png", "--seed", "-1"]);
    assert!(!other.out.contains(&seed), "{}", other.out);
}

#[test]
fn every_setting_changes_the_picture() {
    let folder = Folder::new();
    let differs = |base: &[&str], change: &[&str]| {
        let changed = [base, change].concat();
        assert_ne!(folder.drawn(base), folder.drawn(&changed), "{change:?}");
    };
    differs(&[], &["-n", "blurry"]);
    differs(&[], &["--steps", "3"]);
    differs(&[], &["--cfg-scale", "3"]);
    differs(&[], &["--cfg-rescale", "0.7"]);
    differs(&[], &["--sampler", "euler"]);
    differs(&["--sampler", "dpm++2m", "--steps", "4"], &["--scheduler", "karras"]);
    differs(&["--sampler", "ddim"], &["--eta", "1"]);
}

#[test]
fn every_sampler_is_found_by_its_name() {
    let folder = Folder::new();
    let drawn = |name: &str| folder.drawn(&["--sampler", name, "--steps", "4"]);
    // A step of the one is a step of the other: both go down to where the posterior's noise makes up the rest.
    assert_eq!(drawn("ddpm"), drawn("euler_a"));
    let others = calotype::Sampler::ALL.iter().map(ToString::to_string).filter(|name| name != "ddpm");
    let mut pictures: Vec<_> = others.map(|name| drawn(&name)).collect();
    pictures.sort();
    pictures.dedup();
    assert_eq!(pictures.len(), calotype::Sampler::ALL.len() - 1, "each draws its own picture");
    assert_eq!(folder.drawn(&["--sampler", "dpmpp_2m"]), folder.drawn(&["--sampler", "dpm++2m"]));
}

#[test]
fn without_guidance_the_negative_prompt_has_no_say() {
    let folder = Folder::new();
    let plain = folder.drawn(&["--cfg-scale", "1"]);
    assert_eq!(plain, folder.drawn(&["--cfg-scale", "1", "-n", "blurry"]));
    assert_eq!(plain, folder.drawn(&["--cfg-scale", "0.5"]));
}

#[test]
fn no_metadata_leaves_the_settings_out() {
    let folder = Folder::new();
    folder.draw(&["a cat", "-o", "bare.png", "--no-metadata"]);
    assert_eq!(settings(&folder.read("bare.png")), None);
}

#[test]
fn patterns_go_on_after_the_highest_number_and_nothing_is_replaced_unasked() {
    let folder = Folder::new();
    folder.write("a_0007.png", "mine");
    assert!(folder.draw(&["a cat", "-o", "a_%04d.png"]).out.starts_with("a_0008.png"));
    assert_eq!(folder.read("a_0007.png"), b"mine");
    folder.write("cat.png", "mine");
    folder.fails(
        1,
        &["generate", "a cat", "--backend", "cpu", "-o", "cat.png"],
        &["cat.png", "exists", "--overwrite"],
    );
    assert_eq!(folder.read("cat.png"), b"mine");
    folder.draw(&["a cat", "-o", "cat.png", "--overwrite"]);
    decode(&folder.read("cat.png"));
    // A numbered pattern has nothing to overwrite.
    assert!(folder.draw(&["a cat", "-o", "a_%04d.png", "--overwrite"]).out.starts_with("a_0009.png"));
}

#[test]
fn a_prompt_that_is_too_long_is_cut_with_a_warning_that_quotes_what_was_dropped() {
    let folder = Folder::new();
    let long = format!("{}the dropped lighthouse", "a cat on a mat ".repeat(20));
    let said = folder.draw(&[&long, "--prompt-style", "plain"]);
    let warning = said.err.lines().find(|line| line.starts_with("warning:")).expect("a warning");
    assert!(warning.contains("the dropped lighthouse\""), "{warning}");
    // However long it is, the warning is a line.
    // Windows takes 32,767 characters in all.
    let said = folder.draw(&[&"ein Kätzchen ".repeat(2000), "--prompt-style", "plain"]);
    let warning = said.err.lines().find(|line| line.starts_with("warning:")).expect("a warning");
    assert!(warning.contains(" … ") && warning.chars().count() < 250, "{warning}");
}

#[test]
fn f16_on_the_cpu_is_allowed_and_said_to_be_of_no_use() {
    let folder = Folder::new();
    let said = folder.draw(&["a cat", "--dtype", "f16"]);
    assert!(said.err.contains("warning: --dtype f16"), "{}", said.err);
}

#[test]
fn help_and_version_are_there() {
    let folder = Folder::new();
    for command in ["generate", "plan", "adapters", "inspect"] {
        let help = predicate::str::contains("Usage: calotype ").and(predicate::str::contains("--json"));
        calotype(folder.path()).args([command, "--help"]).assert().success().stdout(help);
    }
    calotype(folder.path())
        .arg("--version")
        .assert()
        .success()
        .stdout(predicate::str::starts_with("calotype 0."));
    calotype(folder.path()).assert().code(2).stderr(predicate::str::contains("generate"));
}
