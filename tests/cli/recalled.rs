//! `--from-png`, `inspect` of pictures, and LoRAs that prompts ask for.

use crate::support::{Folder, goldens, json_lines, settings, tiny};
use std::fs;

/// Runs `generate` with nothing but this.
fn draw(folder: &Folder, args: &[&str]) {
    folder.run(&[&["generate"], args].concat());
}

#[test]
fn a_picture_is_drawn_again_from_its_settings() {
    let folder = Folder::new();
    let loras = goldens().join("sd1-tiny/loras");
    let loras = loras.to_str().unwrap();
    let cases: &[&[&str]] = &[
        &["a cat"],
        &[
            "a (red:1.3) house, [cat|dog]: \"so\",\nwith BREAK a moon",
            "-n",
            "blue, green: dark",
            "--cfg-scale",
            "3.7",
        ],
        &["a cat", "--sampler", "ddim", "--eta", "0.3", "--rng", "cuda", "--cfg-rescale", "0.7"],
        &[
            "a cat",
            "--sampler",
            "euler_a",
            "--sampler-dialect",
            "k",
            "--scheduler",
            "karras",
            "--s-noise",
            "1.01",
        ],
        &["a cat", "--sampler", "dpm++_2m", "--sigmas", "10,5,1.5,0.1,0"],
        &["a cat", "-n", "a (dog:1.2)", "--guidance", "perp-neg:scale=1.5", "--sampler", "dpm_adaptive"],
        &["a cat", "--guidance", "apg:eta=0:norm=2:momentum=-0.5", "--s-min-uncond", "5.5"],
        &[
            "a cat AND a (dog:1.2) :0.6",
            "--cfg-start",
            "0.3",
            "--cfg-end",
            "0.9",
            "--sampler",
            "tcd",
            "--eta",
            "0.5",
        ],
        &["a (cat:1.4)", "--prompt-style", "comfy", "--variation-seed", "9", "--variation-strength", "0.25"],
        &["a (cat:1.4)", "--prompt-style", "plain", "-W", "72", "--seed-resize-from", "64x72"],
        &["a (cat:1.4)", "--emphasis", "no_norm", "--clip-skip", "2", "--rng", "numpy"],
        &["a cat <lora:kohya:0.5>, red", "--lora-dir", loras],
        &["a <lora:peft:0.8> cat", "--lora-dir", loras, "--clip-skip", "1"],
    ];
    let tiny = tiny();
    for case in cases {
        // Noise levels one by one say how many steps there are.
        let steps: &[&str] = if case.contains(&"--sigmas") { &[] } else { &["--steps", "4"] };
        let how = ["-m", &tiny, "--backend", "cpu", "--seed", "7", "-o", "a.png"];
        let args = [*case, &how, steps].concat();
        draw(&folder, &args);
        let again =
            ["--from-png", "a.png", "-m", &tiny, "--backend", "cpu", "--lora-dir", loras, "-o", "b.png"];
        draw(&folder, &again);
        let (a, b) = (folder.read("a.png"), folder.read("b.png"));
        assert!(a == b, "{case:?}: {:?}, {:?}", settings(&a), settings(&b));
        // What is typed goes before it.
        draw(&folder, &[&again[..8], &["--seed", "8", "-o", "c.png"]].concat());
        let c = settings(&folder.read("c.png")).unwrap();
        assert_eq!((c.seed(), c.prompt), (Some(8), settings(&a).unwrap().prompt));
        ["a.png", "b.png", "c.png"]
            .iter()
            .for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
    }
}

#[test]
fn a_picture_tells_its_settings() {
    let folder = Folder::new();
    folder.draw(&["a cat, red", "-n", "dog", "-m", &tiny(), "--seed", "3", "-o", "a.png"]);
    let said = json_lines(&folder.run(&["inspect", "a.png", "--json"])).remove(0);
    assert_eq!(said["prompt"], "a cat, red");
    assert_eq!(said["settings"]["Seed"], "3");
    assert_eq!(said["request"]["seed"], 3);
    assert_eq!(said["not_honoured"], serde_json::json!([]));
    let said = folder.run(&["inspect", "a.png"]);
    assert!(said.out.contains("negative prompt") && said.out.contains("Sampler"), "{}", said.out);
}

#[test]
fn what_cannot_be_drawn_again_is_told() {
    let folder = Folder::new();
    let tiny = tiny();
    draw(
        &folder,
        &["a cat", "-m", &tiny, "--backend", "cpu", "--steps", "1", "--no-metadata", "-o", "bare.png"],
    );
    folder.fails(
        2,
        &["generate", "--from-png", "bare.png", "-m", &tiny],
        &["--from-png bare.png", "no settings"],
    );
    folder.fails(1, &["generate", "--from-png", "absent.png", "-m", &tiny], &["--from-png", "absent.png"]);
    fs::write(folder.path().join("words.png"), "words").unwrap();
    folder.fails(1, &["generate", "--from-png", "words.png", "-m", &tiny], &["words.png", "neither a PNG"]);
    draw(&folder, &["a cat", "-m", &tiny, "--backend", "cpu", "--steps", "1", "-o", "a.png"]);
    folder.fails(2, &["generate", "--from-png", "a.png"], &["drawn with the model", "-m"]);
    let asked = |prompt: &'static str| vec!["generate", prompt, "--backend", "cpu", "-m", &tiny];
    folder.fails(2, &asked("a <lora:ink:1> cat"), &["LoRA ink", "--lora-dir"]);
    let absent = [asked("a <lora:ink:1> cat"), vec!["--lora-dir", "."]].concat();
    folder.fails(2, &absent, &["LoRA ink", "no ink.safetensors"]);
    folder.fails(2, &asked("a <lora:ink:much> cat"), &["<lora:ink>", "a number"]);
    folder.fails(2, &asked("a <lora:ink:1:0.5> cat"), &["one scale"]);
    folder.fails(2, &[asked("a cat"), vec!["--clip-skip", "0"]].concat(), &["--clip-skip 0"]);
    folder.fails(2, &[asked("a cat"), vec!["--prompt-style", "no"]].concat(), &["a1111, plain, comfy"]);
}

#[test]
fn a_prompt_is_told_as_it_is_read() {
    let folder = Folder::new();
    let prompt = "a (red:1.5) house BREAK [moon:sea:5] <lora:ink:1>";
    let said = folder.run(&["inspect", &tiny(), "--prompt", prompt, "--steps", "8"]).out;
    for line in ["asks for lora ink", "up to evaluation 5 (of 0 to 7)", "chunk 2: ", "(red:1.5)"] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    let json = json_lines(&folder.run(&["inspect", &tiny(), "--prompt", prompt, "--json"])).remove(0);
    let turns = json["parts"][0]["turns"].as_array().unwrap();
    assert_eq!((turns.len(), turns[0]["until"].as_u64(), turns[1]["until"].as_u64()), (2, Some(5), Some(20)));
    assert_eq!(turns[0]["chunks"].as_array().unwrap().len(), 2);
    assert_eq!(turns[0]["chunks"][0][1]["weight"], 1.5);
    let comfy = ["inspect", &tiny(), "--prompt", "((a:1.2):1.5)", "--prompt-style", "comfy", "--json"];
    assert_eq!(json_lines(&folder.run(&comfy))[0]["parts"][0]["turns"][0]["chunks"][0][0]["weight"], 1.2_f32);
}
