//! `calotype grid`: what each cell is, where it stands, and what is refused before anything is drawn.

use crate::support::{Folder, Said, decode, json_lines, settings, tiny};

/// A sheet by the tiny model on the CPU.
fn grid(folder: &Folder, more: &[&str]) -> Said {
    let tiny = tiny();
    let mut args =
        vec!["grid", "a cat", "--backend", "cpu", "-m", &tiny, "--seed", "1", "-o", "cell_%02d.png"];
    args.extend(more);
    folder.run(&args)
}

#[test]
fn each_cell_is_what_generate_draws_and_stands_in_its_place() {
    let folder = Folder::new();
    let said = grid(&folder, &["--x", "steps=1,2", "--y", "sampler=ddim,euler", "--no-metadata", "--json"]);
    let lines = json_lines(&said);
    assert_eq!(lines.len(), 4);
    let (width, _, sheet) = decode(&folder.read("cell_grid_00.png"));
    for (at, line) in lines.iter().enumerate() {
        let steps = ["1", "2"][at % 2];
        let sampler = ["ddim", "euler"][at / 2];
        assert_eq!(line["cell"], serde_json::json!({ "steps": steps, "sampler": sampler }));
        assert_eq!(line["grid"].is_null(), at < 3);
        let cell = folder.read(line["files"][0].as_str().unwrap());
        assert!(cell == folder.drawn(&["--steps", steps, "--sampler", sampler]), "{steps}, {sampler}");
        // Its rows stand in the sheet one below the other.
        let (w, h, pixels) = decode(&cell);
        let row = |y: usize| &pixels[3 * w * y..3 * w * (y + 1)];
        let found = (0..sheet.len() / 3 - w).find(|from| {
            (0..h).all(|y| sheet.get(3 * (from + y * width)..).is_some_and(|rest| rest.starts_with(row(y))))
        });
        let (x, y) = found.map(|from| (from % width, from / width)).expect("the cell is on the sheet");
        let first = at % 2 == 0;
        assert!((x < width / 2) == first, "{x} of {width}");
        assert!(at / 2 == 0 || y > h, "{y}");
    }
    // The labels: black on white above the first row.
    assert!(sheet[..3 * width * 16].contains(&0) && sheet[..3 * width].iter().all(|v| *v == 255));
}

#[test]
fn words_seeds_and_parts_make_axes_too() {
    let folder = Folder::new();
    let said = grid(
        &folder,
        &["--steps", "1", "--x", "prompt=s/cat/dog/,\"a sea, calm\"", "--z=cfg-scale=1,5", "-b", "2"],
    );
    assert_eq!(said.out.lines().count(), 4 * 2 + 1);
    let of = |name: &str| settings(&folder.read(name)).unwrap();
    assert_eq!(of("cell_00.png").prompt, "a dog");
    assert_eq!(of("cell_02.png").prompt, "a sea, calm");
    let [first, last] =
        ["cell_00.png", "cell_07.png"].map(|name| of(name).get("CFG scale").map(String::from));
    assert_eq!([first.as_deref(), last.as_deref()], [Some("1"), Some("5")]);
    let sheet = of("cell_grid_00.png");
    assert_eq!(sheet.get("Script"), Some("X/Y/Z plot"));
    assert_eq!(sheet.get("X Type"), Some("prompt"));
    // A batch is one place: two columns of pictures twice as wide as high.
    let (width, _, _) = decode(&folder.read("cell_grid_00.png"));
    let (w, _, _) = decode(&folder.read("cell_00.png"));
    assert!(width >= 4 * w && width < 5 * w, "{width} of {w}");
}

#[test]
fn what_cannot_be_a_grid_is_told_before_anything_is_drawn() {
    let folder = Folder::new();
    let tiny = tiny();
    let told = |code: i32, more: &[&str], parts: &[&str]| {
        let args = [&["grid", "a cat", "-m", &tiny, "--backend", "cpu"], more].concat();
        folder.fails(code, &args, parts);
    };
    told(2, &[], &["--x steps=10,20,50"]);
    told(2, &["--x", "steps"], &["--x steps", "a flag and its values"]);
    told(2, &["--x", "steps=1,,2"], &["missing"]);
    told(2, &["--x", "steps=1,x"], &["--steps x", "whole number"]);
    told(2, &["--x", "stepz=1,2"], &["--stepz", "did you mean --steps"]);
    told(2, &["--x", "steps=1,2", "--steps", "3"], &["--steps is given twice"]);
    told(2, &["--x", "steps=1,2", "--y", "steps=3"], &["steps is on two axes"]);
    told(2, &["--x", "prompt=s/owl/dog/"], &["--x", "no \"owl\""]);
    told(2, &["--x", "steps=1,2", "--batch-count", "2"], &["--batch-count", "--z seed"]);
    told(2, &["--x", "width=64,65"], &["the cell of width=65", "--width"]);
    told(1, &["--x", "lora=none.safetensors"], &["the cell of lora=none.safetensors", "--lora"]);
    told(2, &["--x", "sampler=euler,eulr"], &["eulr", "did you mean euler?"]);
}
